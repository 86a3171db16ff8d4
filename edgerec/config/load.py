"""Finds and loads the configuration file: its plain values become settings of the schema.

Recording never falls back to built-in defaults: the file must exist, be whole as far as can be
told, and name the source of each track. Types and limits are those of the schema's annotations; see
`edgerec.validation`. What is wrong becomes problems for an operator, all at once: what was probably
meant, and how to write it in YAML.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from edgerec.audio import TRACKS
from edgerec.config.checks import contradictions
from edgerec.config.document import read_document
from edgerec.config.problems import MAX_SHOWN, ConfigError, Problem
from edgerec.config.schema import Config
from edgerec.config.slips import Misreadable
from edgerec.validation.typed import Shape, Wrong, put_over, shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Section = TypeVar("Section", bound=DataclassInstance)


def build(default: Section, document: object) -> tuple[Section, list[Problem]]:
    """Put what a document gives over the defaults.

    Parameters
    ----------
    default
        The whole configuration with its built-in values.
    document
        Plain values as `read_document` gives them; None: nothing is set.

    Returns
    -------
    section, problems
        Where a value is wrong, the section has the default in its place.
    """
    section, wrong = put_over(default, document)
    known_paths = [path for path, _ in leaves(default)]
    return section, [
        _problem(one, known_paths, named=number < MAX_SHOWN) for number, one in enumerate(wrong)
    ]


def leaves(section: DataclassInstance, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield every setting below a section, by its dotted path, with the value it has there."""
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        name = f"{path}.{field.name}".removeprefix(".")
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from leaves(value, name)
        else:
            yield name, value


def _problem(wrong: Wrong, known_paths: Sequence[str], *, named: bool) -> Problem:
    """Return what an operator reads of it.

    Parameters
    ----------
    named
        Whether it will be shown: to find what a key was meant to be takes long.
    """
    shape, given = wrong.shape, wrong.given
    if shape is None:
        meant = _meant(str(given), wrong.known, known_paths) if named else "see config/edgerec.yaml"
        return Problem(wrong.path, "unknown", meant)
    if shape.fields:
        keys = ", ".join(field.name for field in dataclasses.fields(shape.type))
        return Problem(wrong.path, f"{_show(given)} is not a section", f"give it keys of: {keys}")
    read = given.in_yaml if isinstance(given, Misreadable) else ""
    hint = f"expected {shape.expected}{_advice(shape, given)}"
    return Problem(wrong.path, f"{_show(given)} is not allowed{read}", hint)


def _meant(key: str, known: Sequence[str], known_paths: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    # A wrong indentation puts a good key in a bad place.
    elsewhere = [path for path in known_paths if path.endswith(f".{key}")]
    if elsewhere:
        return f"did you mean {' or '.join(elsewhere)}?"
    return f"the keys here are: {', '.join(known)}"


_QUOTES: Final = "; put it in quotes"
_WORDS: Final = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False}


def _advice(shape: Shape, given: object) -> str:
    """Explain YAML's guesses, and say what to write in place of a value that shows one of them."""
    if shape.type in (str, Path) and not isinstance(given, str | list | dict | None):
        return f'; put it in quotes: "{given}"' if isinstance(given, Misreadable) else _QUOTES
    if shape.type in (tuple[str, ...], Mapping[str, str]):
        return _advice_on_texts(given)
    if shape.type is bool:
        wanted = given.boolean if isinstance(given, Misreadable) else _WORDS.get(str(given).lower())
        return "" if wanted is None else f"; write {str(wanted).lower()}, without quotes"
    if shape.type not in (int, float, int | tuple[int, ...]):
        return ""
    if isinstance(given, Misreadable) and given.decimal is not None:
        return f"; write it in plain digits, such as {given.decimal}"
    if isinstance(given, str) and _reads_as_number(given):
        return "; write it in plain digits, without quotes"
    return ""


def _advice_on_texts(given: object) -> str:
    parts = given.values() if isinstance(given, dict) else given if isinstance(given, list) else ()
    unquoted = (part for part in parts if not isinstance(part, str | list | dict | None))
    return next((f"; put {_show(part)} in quotes" for part in unquoted), "")


def _reads_as_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _show(value: object) -> str:
    if isinstance(value, Misreadable):
        return shown(value.text)
    try:
        return shown(json.dumps(value, ensure_ascii=False, default=str))
    except ValueError:  # a number of thousands of digits
        return "a number that is far too long"


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
