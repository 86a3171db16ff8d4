"""The configuration: what is refused, how it is said, and what a good one gives."""

import os
import socket
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edgerec import config as config_package
from edgerec.config import Config, ConfigError, Problem, document, load, load_config
from edgerec.config.build import build, leaves


@pytest.fixture
def load_text(tmp_path):
    """Load a text as a configuration file."""

    def load_text(text):
        file = tmp_path / "kiosk.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(file)

    return load_text


@pytest.fixture
def problems_of(load_text):
    """Load a text that must be refused, and return its problems as lines."""

    def problems_of(text):
        with pytest.raises(ConfigError) as caught:
            load_text(text)
        return [str(problem) for problem in caught.value.problems]

    return problems_of


# What a good file gives


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "recording:\ntracks:\n  bot:\n"])
def test_empty_file_and_empty_sections_mean_the_defaults(load_text, text):
    assert load_text(text) == Config()


def test_given_values_replace_defaults_and_leave_the_others(load_text):
    config = load_text(
        "kiosk_id: k1\n"
        "recording: {chunk_seconds: 30, num_channels: 1}\n"
        "tracks: {bot: {env: {PULSE_SOURCE: speaker.monitor}}}\n"
        "storage: {root: /data}\n"
    )
    assert config.kiosk_id == "k1"
    assert config.recording.chunk_seconds == 30
    assert config.recording.num_channels == 1
    assert config.tracks.bot.env == {"PULSE_SOURCE": "speaker.monitor"}
    assert config.tracks.bot.channels == 2
    assert config.tracks.user == Config().tracks.user
    assert config.storage.root == Path("/data")


def test_null_unsets_what_may_be_unset(load_text):
    assert load_text("recording: {sample_rate: null}").recording.sample_rate is None


def test_blank_mapping_or_list_is_an_empty_one(load_text):
    config = load_text("tracks: {user: {env: }}\nhooks: {on_chunk: }")
    assert config.tracks.user.env == {}
    assert config.hooks.on_chunk == ()


def test_byte_order_mark_of_a_windows_editor_is_no_error(load_text):
    assert load_text(b"\xef\xbb\xbfkiosk_id: k1\n").kiosk_id == "k1"


def test_buffer_size_counts_bytes_of_one_16_bit_track(load_text):
    recording = load_text("recording: {buffer_size: 960000}").recording
    assert recording.chunk_frames(16_000) == 30 * 16_000


def test_chunk_seconds_are_rounded_to_the_nearest_frame(load_text):
    recording = load_text("recording: {chunk_seconds: 7.3}").recording
    assert recording.chunk_frames(44_100) == 321_930
    assert load_text("recording: {chunk_seconds: 0.10001}").recording.chunk_frames(8_000) == 800


def test_without_buffer_size_or_chunk_seconds_only_the_ceiling_ends_a_chunk():
    assert Config().recording.chunk_frames(16_000) is None
    assert Config().recording.max_file_frames(16_000) == 3_600 * 16_000


@pytest.mark.parametrize(
    ("host", "kiosk"),
    [("kiosk-7.shop", "kiosk-7.shop"), ("café 1", "caf--1"), ("x" * 70, "x" * 64), ("", "kiosk")],
)
def test_kiosk_without_an_id_has_the_host_name_made_fit_for_a_folder(monkeypatch, host, kiosk):
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    assert Config().kiosk == kiosk
    assert Config(kiosk_id="k1").kiosk == "k1"


# Which file


def test_without_any_file_the_built_in_defaults_apply(monkeypatch, tmp_path):
    monkeypatch.delenv("EDGEREC_CONFIG", raising=False)
    monkeypatch.setattr(load, "DEFAULT_FILE", tmp_path / "none.yaml")
    assert config_package.default_file() is None
    assert load_config() == Config()


def test_default_file_that_is_there_applies_and_the_variable_wins_over_it(monkeypatch, tmp_path):
    standard, named = tmp_path / "standard.yaml", tmp_path / "named.yaml"
    standard.write_text("kiosk_id: standard")
    named.write_text("kiosk_id: named")
    monkeypatch.setattr(load, "DEFAULT_FILE", standard)
    monkeypatch.delenv("EDGEREC_CONFIG", raising=False)
    assert load_config().kiosk_id == "standard"
    monkeypatch.setenv("EDGEREC_CONFIG", str(named))
    assert load_config().kiosk_id == "named"


def test_missing_file_that_was_named_is_an_error_and_not_the_defaults(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEREC_CONFIG", str(tmp_path / "gone.yaml"))
    with pytest.raises(ConfigError, match=r"gone\.yaml: 1 problem\n.*No such file"):
        load_config()


def test_default_file_that_cannot_be_looked_at_is_not_taken_for_absent(monkeypatch, tmp_path):
    (tmp_path / "etc").write_text("a file where a folder should be")
    monkeypatch.setattr(load, "DEFAULT_FILE", tmp_path / "etc" / "edgerec.yaml")
    monkeypatch.delenv("EDGEREC_CONFIG", raising=False)
    with pytest.raises(ConfigError, match="Not a directory"):
        load_config()


def test_unreadable_file_says_which_and_why(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path)
    assert caught.value.file == tmp_path
    assert "Is a directory" in str(caught.value)


# What is not YAML, or not safe to read


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


def test_chunks_are_not_too_short_at_any_rate_the_device_may_have(problems_of):
    (problem,) = problems_of("recording: {sample_rate: null, buffer_size: 2}")
    assert "chunks shorter than" in problem


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


# Values of the wrong kind


def test_misspelt_key_gets_the_right_one(problems_of):
    assert problems_of("recording: {sample_rte: 16000}") == [
        "recording.sample_rte: unknown; did you mean sample_rate?"
    ]


def test_key_in_the_wrong_section_gets_its_path(problems_of):
    assert problems_of("chunk_seconds: 30") == [
        "chunk_seconds: unknown; did you mean recording.chunk_seconds?"
    ]


def test_key_like_no_other_gets_the_keys_there_are(problems_of):
    assert problems_of("control: {xyzzy: 1}") == [
        "control.xyzzy: unknown; the keys here are: socket, group"
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("recording: {num_channels: true}", "true is not allowed; expected 1 or 2"),
        ("recording: {buffer_size: true}", "true is not allowed; expected a whole number"),
        ("recording: {late_seconds: true}", "true is not allowed; expected a number"),
        ("recording: {separate_tracks: 1}", "1 is not allowed; expected true or false"),
        ("recording: {sample_rate: 16000.5}", "16000.5 is not allowed; expected a whole number"),
        (
            "recording: {sample_rate: 7999}",
            "expected a whole number from 8000 to 192000 Hz, or null",
        ),
        ("recording: {late_seconds: .nan}", "NaN is not allowed; expected a number from 0.05"),
        ("recording: {late_seconds: .inf}", "Infinity is not allowed"),
        ("recording: {format: mp3}", '"mp3" is not allowed; expected wav, flac or opus'),
        ("recording: {auto_start: null}", "null is not allowed; expected true or false"),
        ("recording: 5", "recording: 5 is not a section; give it keys of: sample_rate, "),
        ("- recording", '["recording"] is not a section; give it keys of: kiosk_id, '),
        ("kiosk_id: 007", "7 is not allowed; expected a text of 1 to 64"),
        ("kiosk_id: 007", "; put it in quotes"),
        ("kiosk_id: 2026-11-22", '"2026-11-22" is not allowed'),
        ("kiosk_id: {2026-11-22: 1}", "is not allowed"),
        ("kiosk_id: a/b", '"a/b" is not allowed'),
        ('kiosk_id: "k1\\n"', "is not allowed"),
        (f"kiosk_id: {'k' * 65}", "is not allowed"),
        ('recording: {buffer_size: "960000"}', "; write it in plain digits, without quotes"),
        ("recording: {buffer_size: 1e6}", "; write it in plain digits, without quotes"),
        ("storage: {root: recordings}", '"recordings" is not allowed; expected a path from / on'),
        ('storage: {root: "/a\\0b"}', "is not allowed; expected a path"),
        (f"control: {{socket: /{'s' * 107}}}", "of at most 107 bytes"),
        ("metrics: {textfile: /run/edgerec.txt}", "expected a path from / on, ending in .prom, of"),
        ("metrics: {textfile: edgerec.prom}", "expected a path from / on, ending in .prom, of"),
        ("control: {group: a b}", "expected a text that names a group"),
        ('tracks: {user: {device: ""}}', "expected a text that is a device's name"),
        ("tracks: {user: {env: {PULSE_LATENCY_MSEC: 60}}}", "expected a mapping of environment"),
        ("tracks: {user: {env: {A=B: x}}}", "expected a mapping of environment"),
        ('tracks: {user: {env: {A: "x\\0"}}}', "expected a mapping of environment"),
        ("hooks: {on_chunk: notify}", "expected a list of a program and its arguments"),
        ("hooks: {on_chunk: [1]}", "expected a list of a program and its arguments"),
        ('hooks: {on_chunk: [""]}', "expected a list of a program and its arguments"),
        ('hooks: {on_chunk: [x, "{file}"]}', "no placeholder but {path}, {sidecar}, {kind}"),
        ('hooks: {on_turn: [x, "{path.parent}"]}', "no placeholder but"),
        ('hooks: {on_turn: [x, "{path!r}"]}', "no placeholder but"),
        ('hooks: {on_turn: [x, "{path:>9}"]}', "no placeholder but"),
        ('hooks: {on_turn: [x, "{"]}', "no placeholder but"),
        ('hooks: {on_turn: [x, "\\0"]}', "no placeholder but"),
        ('hooks: {on_state: [x, "{path}"]}', "no placeholder but {state}"),
    ],
)
def test_wrong_value_is_named_with_what_was_expected(problems_of, text, line):
    (problem,) = problems_of(text)
    assert line in problem


def test_good_hook_is_taken_as_it_stands(load_text):
    config = load_text('hooks: {on_chunk: [notify, "{path}", "{{x}}"]}')
    assert config.hooks.on_chunk == ("notify", "{path}", "{{x}}")


def test_long_wrong_value_is_cut_in_the_message(problems_of):
    (problem,) = problems_of(f"storage: {{root: {'x' * 5000}}}")
    assert len(problem) < 200


def test_number_of_any_size_is_compared_without_a_traceback(problems_of):
    assert problems_of(f"recording: {{late_seconds: 1{'0' * 400}}}")


def test_every_number_of_the_schema_has_a_range_that_holds_its_default():
    for path, default in leaves(Config()):
        if isinstance(default, int | float) and not isinstance(default, bool):
            for wrong in (float("inf"), float("-inf"), 10**30, -(10**30)):
                changed, problems = build(Config(), nested(path, wrong))
                assert [problem.path for problem in problems] == [path]
                assert changed == Config()
        _, problems = build(Config(), nested(path, plain(default)))
        assert problems == []


def nested(path, value):
    """Return the document that gives one setting."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def plain(value):
    """Return a setting as YAML would give it."""
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


# Settings that don't go together


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("recording: {buffer_size: 32000, chunk_seconds: 1}", "recording.buffer_size"),
        ("recording: {buffer_size: 32001}", "recording.buffer_size"),
        ("recording: {buffer_size: 3198}", "recording.buffer_size"),
        ("recording: {chunk_seconds: 61, max_file_seconds: 60}", "recording.chunk_seconds"),
        ("recording: {align_to_clock: true}", "recording.align_to_clock"),
        (
            "{recording: {sample_rate: null}, tracks: {user: {source: none}}}",
            "recording.sample_rate",
        ),
        ("tracks: {user: {source: none}, bot: {source: none}}", "tracks"),
        ("recording: {format: opus, sample_rate: 44100}", "recording.sample_rate"),
        ("recording: {format: opus, sample_rate: null}", "recording.sample_rate"),
        ("turns: {pre_roll_s: 6, max_turn_s: 5}", "turns.pre_roll_s"),
        (
            "{recording: {late_seconds: 0.14}, tracks: {user: {source: none}}}",
            "recording.late_seconds",
        ),
        ("tracks: {bot: {block_ms: 1000}}", "recording.late_seconds"),
        (
            "{recording: {late_seconds: 0.19}, tracks: {bot: {source: feed}}}",
            "recording.late_seconds",
        ),
    ],
)
def test_contradiction_is_reported_under_one_of_its_settings(problems_of, text, path):
    (problem,) = problems_of(text)
    assert problem.startswith(f"{path}: ")


@pytest.mark.parametrize(
    "text",
    [
        "recording: {buffer_size: 3200}",
        "recording: {buffer_size: 76800, sample_rate: null}",  # how long that is, the device says
        "recording: {buffer_size: 1000000000}",  # max_file_seconds ends it, whatever it says
        "recording: {chunk_seconds: 60, max_file_seconds: 60, align_to_clock: true}",
        "recording: {format: flac, sample_rate: null}",
        "recording: {format: opus, sample_rate: 24000}",
        "tracks: {user: {source: none}}",
        "{recording: {late_seconds: 0.2}, tracks: {user: {source: feed}, bot: {source: feed}}}",
        "recording: {user_continuous_stream: false, late_seconds: 0.15}",
        "{recording: {late_seconds: .1}, tracks: {user: {source: none}, bot: {source: simulated}}}",
        "{recording: {late_seconds: 2.05}, tracks: {bot: {block_ms: 2000}}}",
        "tracks: {bot: {source: simulated, simulate: {seed: 7, drift_ppm: -43.5}}}",
    ],
)
def test_settings_that_go_together_are_taken(load_text, text):
    load_text(text)


def test_wrong_value_does_not_bring_contradictions_of_its_default_with_it(problems_of):
    lines = problems_of("recording: {chunk_seconds: often, align_to_clock: true}")
    assert [line.split(":")[0] for line in lines] == ["recording.chunk_seconds"]


def test_everything_wrong_is_reported_at_once(tmp_path):
    file = tmp_path / "kiosk.yaml"
    file.write_text(
        "kiosk_id: 7\n"
        "recording: {sample_rte: 1, num_channels: 3, buffer_size: 5, chunk_seconds: 1}\n"
        "tracks: {bot: {source: usb}}\n"
        "storage: {root: a}\n"
        "storage: {root: b}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert sorted({problem.path for problem in caught.value.problems}) == [
        "kiosk_id",
        "recording.buffer_size",
        "recording.num_channels",
        "recording.sample_rte",
        "storage",
        "storage.root",
        "tracks.bot.source",
    ]
    assert str(caught.value).startswith(f"{file}: {len(caught.value.problems)} problems\n  ")


def test_problem_of_the_whole_file_has_no_path_in_its_line():
    assert str(Problem("", "too long", "shorten it")) == "too long; shorten it"
    assert str(Problem("a.b", "wrong", "right it")) == "a.b: wrong; right it"


def test_both_parsers_of_pyyaml_give_the_same(monkeypatch, problems_of, load_text):
    text = "recording: {chunk_seconds: 30}"
    with_c = load_text(text)
    monkeypatch.setattr(document, "_Loader", yaml.SafeLoader)
    assert load_text(text) == with_c
    (line,) = problems_of("- " * 100_000)
    assert "deep" in line
