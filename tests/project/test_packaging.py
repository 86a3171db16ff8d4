"""pyproject.toml says what build tools read, those of next year too; what they make is complete."""

import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest

from tests import CHECKOUT

BUILT_FROM = ("edgerec", "tests", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
BUILT_FROM += ("CHANGELOG.md",)
OF_SETUPTOOLS = ("PKG-INFO", "setup.cfg", "edgerec.egg-info/")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """Build one, as `python -m build` does; return the folder that it unpacks to."""
    folder = tmp_path_factory.mktemp("sdist")
    sources = folder / "sources"
    sources.mkdir()
    for name in BUILT_FROM:  # building leaves files beside the sources
        if (CHECKOUT / name).is_dir():
            leave = shutil.ignore_patterns("__pycache__")
            shutil.copytree(CHECKOUT / name, sources / name, ignore=leave)
        else:
            shutil.copy(CHECKOUT / name, sources)
    (made,) = built("sdist", sources, folder)
    shutil.unpack_archive(made, folder / "unpacked")
    (unpacked,) = (folder / "unpacked").iterdir()
    return unpacked


def built(kind, sources, folder):
    """Build an `sdist` or a `wheel`; return what there is in the folder then."""
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(folder / kind)!r})"
    (folder / kind).mkdir()
    subprocess.run([sys.executable, "-c", code], cwd=sources, check=True, capture_output=True)
    return list((folder / kind).iterdir())


def files(folder, under="."):
    found = {path for path in (folder / under).rglob("*") if path.is_file()}
    return {str(path.relative_to(folder)) for path in found if "__pycache__" not in path.parts}


PACKAGE = files(CHECKOUT, "edgerec")


def test_an_sdist_has_all_of_the_package_and_no_tests(sdist):
    """Tests without their helpers run nowhere; the repository has them all."""
    named = {"pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md"}
    assert {one for one in files(sdist) if not one.startswith(OF_SETUPTOOLS)} == PACKAGE | named


def test_a_wheel_that_is_built_of_it_has_every_file_of_the_package(sdist, tmp_path):
    (made,) = built("wheel", sdist, tmp_path)
    with zipfile.ZipFile(made) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == PACKAGE


def test_the_license_is_said_in_the_form_that_build_tools_still_take():
    """As a table it is no error until setuptools drops it, and then no installation works."""
    told = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    assert told["project"]["license"] == "Apache-2.0"
    assert [(CHECKOUT / name).is_file() for name in told["project"]["license-files"]] == [True]
    assert not any(c.startswith("License ::") for c in told["project"]["classifiers"])
    (needed,) = told["build-system"]["requires"]
    assert int(needed.removeprefix("setuptools>=")) >= 77
