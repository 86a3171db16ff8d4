"""requirements/ locks what pyproject.toml and the packages it names need, wherever edgerec runs."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import CHECKOUT

PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
FILES = {"kiosk": [], "kiosk-vad": PROJECT["project"]["optional-dependencies"]["vad"]}
HASH = re.compile(r" --hash=sha256:[0-9a-f]{64}(?= |$)")


def locked(name):
    """Read a lock: requirements at one version, each with the hashes of its files."""
    text = (CHECKOUT / "requirements" / f"{name}.txt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    entries = re.sub(r"\s*\\\s+", " ", "\n".join(lines)).splitlines()
    assert all(HASH.search(entry) for entry in entries)
    return [Requirement(HASH.sub("", entry)) for entry in entries]


def environment(python, machine):
    return {
        "python_version": python,
        "python_full_version": f"{python}.2",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": machine,
        "extra": "",
    }


@pytest.fixture(params=PYTHONS)
def python(request):
    return request.param


@pytest.fixture(params=["x86_64", "aarch64"])
def there(request, python):
    """What markers ask of a kiosk."""
    return environment(python, request.param)


@pytest.mark.parametrize("name", FILES)
def test_what_pyproject_asks_for_is_locked_once_and_at_a_version_it_allows(name, there):
    versions = {}
    for one in locked(name) + locked("source"):
        if one.marker is None or one.marker.evaluate(there):
            assert canonicalize_name(one.name) not in versions, one
            (pin,) = one.specifier
            versions[canonicalize_name(one.name)] = pin.version
    wanted = PROJECT["project"]["dependencies"] + FILES[name] + PROJECT["build-system"]["requires"]
    checked = set()
    while wanted:
        one = Requirement(wanted.pop())
        if one.marker is not None and not one.marker.evaluate(there):
            continue
        key = canonicalize_name(one.name)
        assert key in versions, f"{one} is not locked: scripts/lock"
        assert one.specifier.contains(versions[key]), f"{one}, locked at {versions[key]}"
        if key not in checked:
            checked.add(key)
            wanted += needs(key)
    assert checked == set(versions), "locked, and needed by nothing: scripts/lock"


def needs(package):
    """Return what a package says that it needs, by the version that is installed here."""
    try:
        return requires(package) or []
    except PackageNotFoundError:  # a compiler's, in a virtual environment without one
        assert package == "setuptools"
        return []


def test_both_locks_have_the_same_versions():
    assert {str(one) for one in locked("kiosk")} <= {str(one) for one in locked("kiosk-vad")}


def test_only_systemd_python_is_built_on_a_kiosk():
    assert [one.name for one in locked("source")] == ["systemd-python"]
    assert "systemd-python" not in {one.name for one in locked("kiosk-vad")}
