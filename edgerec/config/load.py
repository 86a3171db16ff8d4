"""Which file is the configuration, and what does it say?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from edgerec.config.build import build
from edgerec.config.contradictions import contradictions
from edgerec.config.document import read_document
from edgerec.config.problems import ConfigError
from edgerec.config.schema import Config

FILE_VARIABLE: Final = "EDGEREC_CONFIG"
DEFAULT_FILE: Final = Path("/etc/edgerec/edgerec.yaml")


def default_file() -> Path | None:
    """Return the file that applies where none is named; None: the built-in defaults do."""
    named = os.environ.get(FILE_VARIABLE)
    if named:
        return Path(named)
    try:
        DEFAULT_FILE.lstat()
    except FileNotFoundError:
        return None
    except OSError:
        return DEFAULT_FILE  # something is there; reading it will say what is wrong with it
    return DEFAULT_FILE


def load_config(file: str | Path | None = None) -> Config:
    """Read and check a configuration.

    Parameters
    ----------
    file
        None: `default_file()`, which the caller may ask too, to say which one that was.

    Raises
    ------
    ConfigError
        The file can't be read or anything in it is wrong; it names every problem at once.
    """
    chosen = default_file() if file is None else Path(file)
    if chosen is None:
        return Config()
    document, problems = read_document(chosen)
    config, wrong_values = build(Config(), document)
    problems += wrong_values
    problems += contradictions(config, {problem.path for problem in problems})
    if problems:
        raise ConfigError(chosen, problems)
    return config
