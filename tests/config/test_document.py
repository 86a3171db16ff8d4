"""A configuration file that is not YAML, or not safe to read, is refused with the line."""

import os

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edgerec.config import Config, ConfigError, document, load_config


def test_syntax_error_names_its_line(problems_of):
    (line,) = problems_of("kiosk_id: k1\nrecording: [\n")
    assert line.startswith("line 4, column 1: ")
    assert "a quote or bracket is left open, or the file was cut short" in line


def test_bytes_that_are_not_utf_8_name_their_line(problems_of):
    assert problems_of(b"# one\nkiosk_id: caf\xe9\n") == [
        "line 2, column 14: not UTF-8 text; save the file as UTF-8"
    ]


def test_control_character_names_its_line(problems_of):
    (line,) = problems_of("a: 1\nb: \x07\n")
    assert line.startswith("line 2, column 4: control character '\\x07'; remove it")


def test_impossible_date_is_a_problem_and_no_traceback(problems_of):
    (line,) = problems_of("kiosk_id: 2026-13-01")
    assert "2026-13-01 is not allowed" in line


def test_python_objects_are_not_made(problems_of):
    (line,) = problems_of("kiosk_id: !!python/object/apply:os.getcwd []")
    assert "tag tag:yaml.org,2002:python/object/apply:os.getcwd is not allowed" in line


def test_file_of_any_length_is_read_no_further_than_the_limit(problems_of):
    within = "{}\n".ljust(document.MAX_BYTES, "#").encode()
    (line,) = problems_of(within + b"#")
    assert f"longer than {document.MAX_BYTES} bytes" in line


def test_file_of_exactly_the_limit_is_read(load_text):
    assert load_text("{}\n".ljust(document.MAX_BYTES - 1, "#")) == Config()


def test_anchor_and_alias_are_refused_before_they_can_multiply(problems_of):
    (line,) = problems_of("recording: &all {}\nstorage: *all\n")
    assert line.startswith("line 1, column 12: anchor &all is not allowed; ")
    (line,) = problems_of("kiosk_id: a\nstorage: *all\n")
    assert line.startswith("line 2, column 10: alias *all is not allowed; write the value out")


@pytest.mark.parametrize("opening", ["[", "- ", "{a: "])
def test_nesting_is_refused_before_it_exhausts_the_parser(problems_of, opening):
    (line,) = problems_of(opening * 15_000)
    # PyYAML from 6.0.4 on has a limit of its own, which its look-ahead may meet first.
    assert f"nested more than {document.MAX_DEPTH} deep" in line or "nesting depth" in line


@pytest.mark.parametrize(
    "text", ["a: &x {<<: {a: 1}}", "? [a]\n: 1", "? {a: 1}\n: 1", "--- 1\n--- 2"]
)
def test_odd_yaml_is_a_problem_and_no_traceback(problems_of, text):
    assert problems_of(text)


@given(st.binary(max_size=200) | st.text(alphabet="a: -[]{}?&*!|>'\"#%\n\t0.e", max_size=60))
def test_any_bytes_give_a_config_or_a_config_error(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    try:
        load_config(file)
    except ConfigError as error:
        assert error.problems


def test_a_pipe_is_not_waited_for(tmp_path):
    pipe = tmp_path / "edgerec.yaml"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="nothing is set in it"):
        load_config(pipe)


@pytest.mark.parametrize(
    "text",
    [
        f"recording: {{sample_rate: 0x{'f' * 6000}}}",
        f"recording: {{late_seconds: {':'.join(['59'] * 4000)}.5}}",
        'recording: !!bool "x"',
        'kiosk_id: !!timestamp "x"',
        'recording: {sample_rate: !!int ""}',
        'recording: {late_seconds: !!float ""}',
    ],
)
def test_what_pyyaml_cannot_construct_is_a_problem_and_no_traceback(problems_of, text):
    assert problems_of(text)


def test_many_sections_side_by_side_are_not_deep(problems_of):
    text = "\n".join(f"section{n}: {{}}" for n in range(document.MAX_DEPTH + 1))
    assert all(": unknown; " in line for line in problems_of(text))


def test_key_given_twice_is_reported_with_both_lines(problems_of):
    assert problems_of("storage:\n  root: /a\n  root: /b\n") == [
        "line 3, column 3: storage.root: given twice, first in line 2; remove one"
    ]
    assert problems_of("{storage: {}, storage: {}}") == [
        "line 1, column 15: storage: given twice, first in line 1; remove one"
    ]


def test_both_parsers_of_pyyaml_give_the_same(monkeypatch, problems_of, load_text):
    text = "recording: {chunk_seconds: 30}"
    with_c = load_text(text)
    monkeypatch.setattr(document, "_Loader", yaml.SafeLoader)
    assert load_text(text) == with_c
    (line,) = problems_of("- " * 15_000)
    assert "deep" in line
