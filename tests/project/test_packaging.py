"""pyproject.toml says what build tools of today and of next year read."""

import tomllib

from tests import CHECKOUT


def test_the_license_is_said_in_the_form_that_build_tools_still_take():
    """As a table it is no error until setuptools drops it, and then no installation works."""
    told = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    assert told["project"]["license"] == "Apache-2.0"
    assert [(CHECKOUT / name).is_file() for name in told["project"]["license-files"]] == [True]
    assert not any(c.startswith("License ::") for c in told["project"]["classifiers"])
    (needed,) = told["build-system"]["requires"]
    assert int(needed.removeprefix("setuptools>=")) >= 77
