"""A configuration file that is not YAML, or not safe to read, is refused with the line."""

import os

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edgerec.config import Config, ConfigError, document, load_config


def test_syntax_error_names_its_line(problems_of):
    (line,) = problems_of("kiosk_id: k1\nrecording: [\n")
    assert line.startswith("line 3, column 1: ")


def test_bytes_that_are_not_utf_8_name_their_line(problems_of):
    assert problems_of(b"# one\nkiosk_id: caf\xe9\n") == [
        "line 2: not UTF-8 text; save the file as UTF-8"
    ]


def test_control_character_names_its_line(problems_of):
    assert problems_of("a: 1\nb: \x07\n") == ["line 2: control character '\\x07'; remove it"]


def test_impossible_date_is_a_problem_and_no_traceback(problems_of):
    (line,) = problems_of("kiosk_id: 2026-13-01")
    assert "month must be in 1..12" in line


def test_python_objects_are_not_made(problems_of):
    (line,) = problems_of("kiosk_id: !!python/object/apply:os.getcwd []")
    assert "could not determine a constructor" in line


def test_file_of_any_length_is_read_no_further_than_the_limit(problems_of):
    within = "#" * document.MAX_BYTES
    (line,) = problems_of(within + "#")
    assert f"longer than {document.MAX_BYTES} bytes" in line


def test_file_of_exactly_the_limit_is_read(load_text):
    assert load_text("#" * document.MAX_BYTES) == Config()


def test_alias_is_refused_before_it_can_multiply(problems_of):
    (line,) = problems_of("recording: &all {}\nstorage: *all\n")
    assert line == "line 2, column 10: alias *all is not allowed; write the value out"


@pytest.mark.parametrize("opening", ["[", "- ", "{a: "])
def test_nesting_is_refused_before_it_exhausts_the_parser(problems_of, opening):
    (line,) = problems_of(opening * 100_000)
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
    assert load_config(pipe) == Config()


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
    assert len(problems_of(text)) == document.MAX_DEPTH + 1


def test_key_given_twice_is_reported_with_both_lines(problems_of):
    assert problems_of("storage:\n  root: /a\n  root: /b\n") == [
        "storage.root: given twice, in lines 2 and 3; remove one"
    ]
    assert problems_of("{storage: {}, storage: {}}") == [
        "storage: given twice, in lines 1 and 1; remove one"
    ]


def test_both_parsers_of_pyyaml_give_the_same(monkeypatch, problems_of, load_text):
    text = "recording: {chunk_seconds: 30}"
    with_c = load_text(text)
    monkeypatch.setattr(document, "_Loader", yaml.SafeLoader)
    assert load_text(text) == with_c
    (line,) = problems_of("- " * 100_000)
    assert "deep" in line
