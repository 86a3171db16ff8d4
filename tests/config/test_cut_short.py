"""A configuration that is empty or cut short never has more recorded than the whole one."""

import difflib

import pytest

from edgerec.config import ConfigError, load_config
from edgerec.config.problems import MAX_SHOWN
from tests import CHECKOUT

EXAMPLE = (CHECKOUT / "config" / "edgerec.yaml").read_text()
PRIVATE = """\
kiosk_id: lobby-1
tracks:
  user:
    channels: 1
    source: none
  bot:
    device: "pulse:kiosk_speaker.monitor"
    channels: 2
storage:
  root: /srv/edgerec
  stall_seconds: 60
"""
BRACES = '{tracks: {user: {source: none}, bot: {device: "x"}}, recording: {chunk_seconds: 300}}'
SPEECH_ONLY = """\
# The microphone is recorded only while somebody speaks.
recording: {user_continuous_stream: false}
tracks:
  user: {device: "alsa:Mic,0"}
  bot: {source: feed}
"""


@pytest.fixture
def load(tmp_path):
    def load(data):
        file = tmp_path / "kiosk.yaml"
        file.write_bytes(data)
        return load_config(file)

    return load


@pytest.mark.parametrize(
    ("text", "step"),
    [(PRIVATE, 1), (BRACES, 1), (SPEECH_ONLY, 1), (EXAMPLE, 17)],
    ids=["private", "braces", "speech only", "example"],
)
def test_a_cut_at_any_byte_is_refused_or_opens_no_other_device(load, text, step):
    whole = load(text.encode()).tracks
    for length in range(0, len(text.encode()), step):
        data = text.encode()[:length]
        try:
            tracks = load(data).tracks
        except ConfigError:
            continue
        assert data.endswith(b"\n"), data[-40:]  # at the end of a line nobody can tell
        for track in ("user", "bot"):
            was, now = getattr(whole, track), getattr(tracks, track)
            assert (now.source, now.device) == (was.source, was.device)


@pytest.mark.parametrize("text", [PRIVATE, SPEECH_ONLY])
def test_a_cut_that_leaves_the_tracks_out_is_refused(load, text):
    for end in range(1, text.count("\n")):
        lines = text.splitlines(keepends=True)[:end]
        if sum("source:" in line or "device:" in line for line in lines) < 2:
            with pytest.raises(ConfigError):
                load("".join(lines).encode())


@pytest.mark.parametrize(
    "data",
    [b"", b"\n\n", b" ", b"# nothing yet\n", b"\xef\xbb\xbf", b"---\n", b"null\n", b"...\n"],
)
def test_a_file_in_which_nothing_is_set_is_refused(load, data):
    with pytest.raises(ConfigError):
        load(data)


def test_zeros_that_a_power_cut_leaves_are_refused_with_the_reason(load):
    with pytest.raises(ConfigError, match="zeros are what a power cut leaves of a file"):
        load(PRIVATE.encode()[:100] + bytes(200))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"tracks:\n  user:\n", "line 2, column 8: the file ends after a key without a value"),
        (b"kiosk_id: lob", "line 1, column 14: the file ends within a line, as if it was cut"),
        (b"kiosk_id: a\n# the mic", "line 2, column 10: the file ends within a line"),
        (b"{tracks: {user: {source: none}", "a quote or bracket is left open, or the file was cut"),
        (b"hooks:\n  on_chunk:\n    -\n", "the file ends after a key without a value"),
        (b'kiosk_id: "lob\n', "a quote or bracket is left open, or the file was cut short"),
    ],
)
def test_what_looks_cut_short_is_said_with_its_place(load, data, says):
    with pytest.raises(ConfigError) as caught:
        load(data)
    assert says in str(caught.value)


@pytest.mark.parametrize("end", ["", "\n", "\n# kept by the shop\n"])
@pytest.mark.parametrize("text", [BRACES, f"{PRIVATE}..."])
def test_a_file_that_is_closed_needs_no_last_line_break(load, text, end):
    assert load(f"{text}{end}".encode()).tracks.user.source == "none"


@pytest.mark.parametrize(
    "tracks",
    [
        "{}",
        "{user: {source: none}}",
        "{bot: {device: x}}",
        "{user: {channels: 2}, bot: {device: x}}",
        "{user: {device: null}, bot: {device: x}}",
        "{user: {env: {PULSE_SOURCE: x}}, bot: {device: x}}",
    ],
)
def test_a_track_of_which_the_file_does_not_say_where_it_comes_from_is_refused(load, tracks):
    with pytest.raises(ConfigError, match="nothing says where this track comes from") as caught:
        load(f"tracks: {tracks}\n".encode())
    assert {problem.path for problem in caught.value.problems} <= {"tracks.user", "tracks.bot"}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("tracks: {user: {source: usb}, bot: {device: x}}", "tracks.user.source"),
        ("tracks: {user: {device: “x”}, bot: {device: x}}", "tracks.user.device"),
        ("tracks: 5", "tracks"),
        ("- tracks", ""),
    ],
)
def test_a_source_that_is_wrong_is_told_once(load, text, path):
    with pytest.raises(ConfigError) as caught:
        load(f"{text}\n".encode())
    (problem,) = caught.value.problems
    assert problem.path == path


def test_thousands_of_errors_are_told_in_a_few_lines(load, monkeypatch):
    looks = []
    monkeypatch.setattr(difflib, "get_close_matches", lambda *key, **how: looks.append(key) or [])
    with pytest.raises(ConfigError) as caught:
        load("".join(f"key{n}: 1\n" for n in range(4_000)).encode())
    assert len(looks) <= MAX_SHOWN  # all of them would take a small processor minutes
    assert len(caught.value.problems) == MAX_SHOWN
    assert caught.value.more == 4_000 + 2 - MAX_SHOWN
    lines = str(caught.value).splitlines()
    assert len(lines) == MAX_SHOWN + 2
    assert lines[0].endswith(": 4002 problems")
    assert lines[-1] == f"  and {caught.value.more} more"


def test_a_long_or_odd_key_is_told_short_and_without_terminal_escapes(load):
    with pytest.raises(ConfigError) as caught:
        load(f'"\\x1b[2J{"k" * 900}": 1\n{SPEECH_ONLY}'.encode())
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 500
