"""Values of a configuration that are wrong, or don't go together: each is said with what to do."""

from pathlib import Path

import pytest

from edgerec.config import Config, ConfigError, Problem, load_config
from edgerec.config.load import build, leaves
from edgerec.config.problems import Place


def test_chunks_are_not_too_short_at_any_rate_the_device_may_have(problems_of):
    (problem,) = problems_of("recording: {sample_rate: null, buffer_size: 2}")
    assert "chunks shorter than" in problem


def test_misspelt_key_gets_the_right_one(problems_of):
    assert problems_of("recording: {sample_rte: 16000}") == [
        "line 1, column 13: recording.sample_rte: unknown; did you mean sample_rate?"
    ]


def test_key_in_the_wrong_section_gets_its_path(problems_of):
    assert problems_of("chunk_seconds: 30") == [
        "line 1, column 1: chunk_seconds: unknown; did you mean recording.chunk_seconds?"
    ]


def test_key_like_no_other_gets_the_keys_there_are(problems_of):
    assert problems_of("control: {xyzzy: 1}") == [
        "line 1, column 11: control.xyzzy: unknown; the keys here are: socket, group"
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
        ("recording: {late_seconds: .nan}", ".nan is not allowed; expected a number from 0.05"),
        ("recording: {late_seconds: .inf}", ".inf is not allowed"),
        ("recording: {format: mp3}", '"mp3" is not allowed; expected wav, flac or opus'),
        ("recording: {auto_start: null}", "null is not allowed; expected true or false"),
        ("recording: 5", "recording: 5 is not a section; give it keys of: sample_rate, "),
        ("- recording", '["recording"] is not a section; give it keys of: kiosk_id, '),
        ("kiosk_id: 007", "007 is not allowed: YAML reads it as 7; expected a text of 1 to 64"),
        ("kiosk_id: 007", '; put it in quotes: "007"'),
        ("kiosk_id: 2026-11-22", "2026-11-22 is not allowed"),
        ("kiosk_id: {2026-11-22: 1}", "is not allowed"),
        ("kiosk_id: a/b", '"a/b" is not allowed'),
        ('kiosk_id: "k1\\x0a"', "is not allowed"),
        (f"kiosk_id: {'k' * 65}", "is not allowed"),
        ('recording: {buffer_size: "960000"}', "; write it in plain digits, without quotes"),
        ("recording: {buffer_size: 1e6}", "; write it in plain digits, without quotes"),
        ("storage: {root: recordings}", '"recordings" is not allowed; expected a path that begins'),
        ('storage: {root: "/a\\x00b"}', "is not allowed; expected a path"),
        (f"control: {{socket: /{'s' * 107}}}", "of at most 107 bytes"),
        ("metrics: {textfile: /run/edgerec.txt}", "path that begins with / and ends in .prom, of"),
        ("metrics: {textfile: edgerec.prom}", "path that begins with / and ends in .prom, of"),
        ("control: {group: a b}", "expected a text that names a group"),
        ('tracks: {user: {device: ""}}', "expected a text that is a device's name"),
        ("tracks: {user: {env: {PULSE_LATENCY_MSEC: 60}}}", "expected a mapping of environment"),
        ("tracks: {user: {env: {A=B: x}}}", "expected a mapping of environment"),
        ('tracks: {user: {env: {A: "x\\x00"}}}', "expected a mapping of environment"),
        (
            "tracks: {user: {channels: [3, 3]}}",
            "expected a whole number, or a list of some, from 1 to 64, as in 2 or [1, 3]",
        ),
        ("tracks: {user: {channels: []}}", "[] is not allowed"),
        ("tracks: {user: {channels: [0]}}", "[0] is not allowed"),
        ("tracks: {user: {channels: [1, 65]}}", "[1, 65] is not allowed"),
        ("tracks: {user: {channels: [true]}}", "[true] is not allowed"),
        ("tracks: {user: {channels: 0}}", "0 is not allowed"),
        ("hooks: {on_chunk: notify}", "expected a list of a program and its arguments"),
        ("hooks: {on_chunk: [1]}", "expected a list of a program and its arguments"),
        ('hooks: {on_chunk: [""]}', "expected a list of a program and its arguments"),
        ('hooks: {on_chunk: [x, "{file}"]}', "no placeholder but {path}, {sidecar}, {kind}"),
        ('hooks: {on_turn: [x, "{path.parent}"]}', "no placeholder but"),
        ('hooks: {on_turn: [x, "{path!r}"]}', "no placeholder but"),
        ('hooks: {on_turn: [x, "{path:>9}"]}', "no placeholder but"),
        ('hooks: {on_turn: [x, "{"]}', "no placeholder but"),
        ('hooks: {on_turn: [x, "\\x00"]}', "no placeholder but"),
        ('hooks: {on_state: [x, "{path}"]}', "no placeholder but {state}"),
    ],
)
def test_wrong_value_is_named_with_what_was_expected(problems_of, text, line):
    (problem,) = problems_of(text)
    assert line in problem


@pytest.mark.parametrize(
    "root",
    [
        "/",
        "//",
        "/./",
        "/etc",
        "/etc/",
        "/usr",
        "/usr/share",
        "/var",
        "/var/lib",
        "/home",
        "/home/pi",
        "/home/pi/",
        "/root",
        "/tmp",
        "/srv",
        "/mnt",
        "//srv//",
        "/./srv",
        "/srv/../etc",
        "/home/pi/..",
        "/run",
    ],
)
def test_a_storage_root_that_is_not_edgerec_s_own_is_refused(problems_of, root):
    (problem,) = problems_of(f"storage: {{root: {root}}}")
    assert f'"{root}" is not allowed' in problem
    assert "to a folder of edgerec's own, such as /srv/edgerec" in problem


@pytest.mark.parametrize(
    "root", ["/srv/edgerec", "/data", "/home/pi/recordings", "/media/usb", "/mnt/disk/", "/tmp/x"]
)
def test_a_storage_root_of_its_own_is_taken(load_text, root):
    assert load_text(f"storage: {{root: {root}}}").storage.root == Path(root)


def test_good_hook_is_taken_as_it_stands(load_text):
    config = load_text('hooks: {on_chunk: [notify, "{path}", "{{x}}"]}')
    assert config.hooks.on_chunk == ("notify", "{path}", "{{x}}")


@pytest.mark.parametrize(
    ("text", "channels", "sent"), [("2", 2, 2), ("[3]", (3,), 1), ("[64, 1]", (64, 1), 2)]
)
def test_channels_are_a_number_or_a_list(load_text, text, channels, sent):
    track = load_text(f"tracks: {{user: {{channels: {text}}}}}").tracks.user
    assert (track.channels, track.sent_channels) == (channels, sent)


def test_long_wrong_value_is_cut_in_the_message(problems_of):
    (problem,) = problems_of(f"storage: {{root: {'x' * 5000}}}")
    assert len(problem) < 250


@pytest.mark.parametrize("digits", [40, 400, 5_000])
def test_number_of_any_size_is_compared_without_a_traceback(problems_of, digits):
    assert problems_of(f"recording: {{late_seconds: 1{'0' * digits}}}")


def test_advice_on_digits_is_for_numbers_only(problems_of):
    (problem,) = problems_of("recording: {format: 010}")
    assert problem.endswith("expected wav, flac or opus")


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
    assert f"{path}: " in problem


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
    assert [line.split(": ")[1] for line in lines] == ["recording.chunk_seconds"]


def test_everything_wrong_is_reported_at_once(tmp_path):
    file = tmp_path / "kiosk.yaml"
    file.write_text(
        "kiosk_id: 7\n"
        "recording: {sample_rte: 1, num_channels: 3, buffer_size: 5, chunk_seconds: 1}\n"
        "tracks: {bot: {source: usb}, user: {source: none}}\n"
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
    line = "line 3, column 1: a.b: wrong; right it"
    assert str(Problem("a.b", "wrong", "right it", Place(3, 1))) == line
