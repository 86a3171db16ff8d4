"""Finds and loads the configuration file.

Recording never falls back to built-in defaults: the file must exist, be whole as far as can be
told, and name the source of each track.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from edgerec.audio import TRACKS
from edgerec.config.build import build
from edgerec.config.contradictions import contradictions
from edgerec.config.document import read_document
from edgerec.config.problems import ConfigError, Problem
from edgerec.config.schema import Config

FILE_VARIABLE: Final = "EDGEREC_CONFIG"
DEFAULT_FILE: Final = Path("/etc/edgerec/edgerec.yaml")


def default_file() -> Path | None:
    """Return the file that applies where none is named; None: there is none."""
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


def file_to_record_by(named: Path | None) -> Path:
    """Return the file that is named, else `default_file()`.

    Raises
    ------
    ConfigError
        There is none: nothing is recorded by built-in defaults.
    """
    file = named or default_file()
    if file is None:
        hint = f"name one by --config or ${FILE_VARIABLE}; config/edgerec.yaml is one to copy"
        raise ConfigError(DEFAULT_FILE, [Problem("", "there is no configuration", hint)])
    return file


def load_config(file: str | Path | None = None, *, records: bool = True) -> Config:
    """Read and check a configuration.

    Parameters
    ----------
    file
        Path of the file; None: `default_file()`, which callers may use to show its name.
    records
        Whether devices will be opened with it. False is for commands that only need paths: without
        a file the built-in defaults apply, and a file need not name the sources of its tracks.

    Raises
    ------
    ConfigError
        The file can't be read, or is not there, or anything in it is wrong; it has every problem.
    """
    named = None if file is None else Path(file)
    if not records and named is None and default_file() is None:
        return Config()
    chosen = file_to_record_by(named)
    document = read_document(chosen)
    config, problems = _checked(document.values, document.problems, records=records)
    if problems:
        places = document.places
        raise ConfigError(
            chosen, (replace(p, place=p.place or places.get(p.path)) for p in problems)
        )
    return config


def make_config(settings: Mapping[str, object] | None = None, /, **sections: object) -> Config:
    """Check a configuration that a program makes, as if it stood in a file.

    Parameters
    ----------
    settings
        The file's keys and values, such as `{"storage": {"root": "/srv/kiosk"}}`.
    sections
        Further ones, such as `recording={"num_channels": 1}`; they replace those of `settings`.

    Raises
    ------
    ConfigError
        Anything in it is wrong; it has every problem.
    """
    given = {**(settings or {}), **sections}
    config, problems = _checked(given, (), records=True)
    if problems:
        raise ConfigError(Path("the program's settings"), problems)
    return config


def _checked(
    given: object, problems: Iterable[Problem], *, records: bool
) -> tuple[Config, list[Problem]]:
    found = list(problems)
    config, wrong_values = build(Config(), given)
    found += wrong_values
    if records:
        found += _unsaid(given, {problem.path for problem in found})
    found += contradictions(config, {problem.path for problem in found})
    return config, found


def _unsaid(given: object, wrong: Collection[str]) -> Iterator[Problem]:
    """Yield the tracks whose source a document does not name.

    The default is a device. A file that was cut short at the end of a line looks whole: it must not
    have a microphone opened that the rest of it has turned off.
    """
    if not isinstance(given, dict):
        return
    tracks = given.get("tracks")
    for name in TRACKS:
        track = tracks.get(name) if isinstance(tracks, dict) else None
        named = track if isinstance(track, dict) else {}
        path = f"tracks.{name}"
        if any(one == "tracks" or f"{one}.".startswith(f"{path}.") for one in wrong):
            continue  # reported already, and perhaps for this
        if named.get("source") is None and named.get("device") is None:
            yield Problem(
                path,
                "nothing says where this track comes from",
                "give it a device; or a source: portaudio (the default device), feed or none",
            )
