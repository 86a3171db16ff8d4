"""A pytest plugin: run a part of the tests, where all of them would take too long.

`--part 2/4` is the third quarter of four: every test is in one of them, whichever tests there are
besides. Loaded by tests/conftest.py.
"""

import argparse
import zlib

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("edgerec")
    group.addoption("--part", type=_part, default=(0, 1), metavar="I/N", help="counted from 0")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    part, parts = config.option.part
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        (kept if zlib.crc32(item.nodeid.encode()) % parts == part else left).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left)


def _part(text: str) -> tuple[int, int]:
    part, parts = (int(number) for number in text.split("/"))
    if not 0 <= part < parts:
        raise argparse.ArgumentTypeError(f"there is no part {text}")
    return part, parts
