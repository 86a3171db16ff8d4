import json
import os
import shutil
import struct
import xml.etree.ElementTree as ElementTree
import zlib

import numpy as np
import pytest

from edgerec import cli
from edgerec.cli.turns import COLUMNS, GUTTER, LANE
from edgerec.store.records.layout import Layout
from edgerec.store.root import StorageRoot
from tests.rigs.turn_rig import LETTER, RATE, TurnRig, conversation

USER = "....SSSSS.......SSS............"
BOT = ".SSSSSS......................S."


@pytest.fixture(scope="module", params=[2, 1])
def top(request, tmp_path_factory):
    top = tmp_path_factory.mktemp("root")
    with StorageRoot(top) as root:
        rig = TurnRig(root, layout=Layout(RATE, request.param))
        rig.run(conversation(USER, BOT))
        rig.finish()
    return top


def run(capsys, *words):
    assert cli.main(["turns", *map(str, words)]) == 0
    return capsys.readouterr().out


def test_turns_are_listed_in_their_order_with_their_speech(top, capsys):
    lines = run(capsys, top).splitlines()
    assert lines[0] == "session 9f3a01c2"
    shown = [line.split()[:6] for line in lines[2:]]
    assert shown == [
        ["1", "1", "bot", "0.10s", "0.60s", "vad"],
        ["2", "2", "user", "0.40s", "0.50s", "vad"],
        ["3", "2", "user", "1.60s", "0.30s", "vad"],
    ]
    assert lines[2].endswith("turn-bot.wav  interrupted")


def test_programs_are_told_frames_too(top, capsys):
    listed = json.loads(run(capsys, top, "--json"))
    assert [one["number"] for one in listed] == [1, 2, 3]
    assert [one["exchange"] for one in listed] == [1, 2, 2]
    assert (listed[1]["speech_start_frame"], listed[1]["speech_end_frame"]) == (
        4 * LETTER,
        9 * LETTER,
    )
    assert all(one["present"] for one in listed)


def test_turns_of_a_version_without_exchanges_are_listed(top, capsys, tmp_path):
    old = shutil.copytree(top, tmp_path / "old")
    for path in old.rglob("*_turn-*.json"):
        described = json.loads(path.read_text())
        del described["turn"]["exchange"]
        path.unlink()
        path.write_text(json.dumps(described))
    lines = run(capsys, old).splitlines()
    assert [line.split()[:2] for line in lines[2:]] == [["1", "-"], ["2", "-"], ["3", "-"]]


def test_a_session_can_be_chosen(top, capsys):
    assert "no turns" in run(capsys, top, "--session", "00000000")
    assert "session 9f3a01c2" in run(capsys, top, "--session", "9f3a01c2")


def test_a_picture_has_every_turn_where_it_is(top, capsys, tmp_path):
    run(capsys, top, "--plot", tmp_path / "session.svg")
    root = ElementTree.parse(tmp_path / "session.svg").getroot()
    boxes = [
        (round(float(box.get("x"))), round(float(box.get("width"))))
        for box in root.iter("{http://www.w3.org/2000/svg}rect")
        if len(box) and box[0].text.startswith("turn")
    ]
    scale = COLUMNS / len(USER)
    expected = [(2, 12), (14, 22), (0, 10)]  # letters: the user's two, then the bot's
    assert len(boxes) == len(expected)
    for (x, width), (start, stop) in zip(boxes, expected, strict=True):
        assert x == pytest.approx(start * scale, abs=1)
        assert width == pytest.approx((stop - start) * scale, abs=2)


def pixels_of(path):
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    place, compressed = 8, b""
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kind, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        (crc,) = struct.unpack_from(">I", data, place + 8 + length)
        assert crc == zlib.crc32(kind + content)
        if kind == b"IHDR":
            width, height = struct.unpack_from(">II", content)
        compressed += content if kind == b"IDAT" else b""
        place += 12 + length
    rows = np.frombuffer(zlib.decompress(compressed), np.uint8).reshape(height, 1 + 3 * width)
    return rows[:, 1:].reshape(height, width, 3)


def test_a_picture_without_text_shows_the_same(top, capsys, tmp_path):
    run(capsys, top, "--plot", tmp_path / "session.png")
    pixels = pixels_of(tmp_path / "session.png")
    edge = pixels[GUTTER + 1]  # the user's lane, where no waveform reaches
    blue = np.flatnonzero((edge != 255).any(axis=1))
    scale = COLUMNS / len(USER)
    assert blue[0] == pytest.approx(2 * scale, abs=1)
    middle = pixels[GUTTER + LANE // 2]
    assert (middle != 255).any(axis=1).all()  # a waveform all the way


def test_sidecars_that_say_nonsense_are_told_and_fail(tmp_path, capsys):
    name = "20261122T101500.123Z_9f3a01c2_000000_turn-user.json"
    (tmp_path / name).write_text("{}")
    assert cli.main(["turns", str(tmp_path)]) == 1
    assert name in capsys.readouterr().err


def test_a_tree_that_is_not_there_is_no_tree_without_turns(tmp_path, capsys):
    assert cli.main(["turns", str(tmp_path / "ready-made")]) == 1
    assert "listing" in capsys.readouterr().err


def test_there_may_be_nothing_to_draw(tmp_path, capsys):
    assert cli.main(["turns", str(tmp_path), "--plot", str(tmp_path / "a.svg")]) == 1
    assert "no session to draw" in capsys.readouterr().err


def test_a_picture_that_can_not_be_written_is_named(top, capsys):
    assert cli.main(["turns", str(top), "--plot", "/no/such/turns.svg"]) == 1
    assert "writing /no/such/turns.svg: No such file or directory" in capsys.readouterr().err


@pytest.fixture
def spoilt(top, tmp_path):
    """A copy for a test to spoil, and its first chunk."""
    shutil.copytree(top, tmp_path / "root")
    return tmp_path / "root", min((tmp_path / "root").rglob("*_chunk.wav"))


def test_pipes_are_not_waited_for(spoilt, capsys):
    root, chunk = spoilt
    os.mkfifo(root / "a.svg")
    assert cli.main(["turns", str(root), "--plot", str(root / "a.svg")]) == 1
    assert "a.svg: not a regular file" in capsys.readouterr().err
    chunk.unlink()
    os.mkfifo(chunk)
    assert cli.main(["turns", str(root), "--plot", str(root / "b.svg")]) == 1
    assert f"{chunk}: is not a regular file" in capsys.readouterr().err


def test_audio_of_another_length_than_its_sidecar_says_is_not_drawn(spoilt, capsys):
    root, chunk = spoilt
    chunk.chmod(0o640)
    os.truncate(chunk, 1 << 40)  # 1 TB, sparse
    assert cli.main(["turns", str(root), "--plot", str(root / "b.svg")]) == 1
    assert f"is {1 << 40} bytes long, its sidecar says" in capsys.readouterr().err


def test_no_more_audio_is_drawn_than_a_sidecar_describes(spoilt, capsys):
    root, chunk = spoilt
    for path in root.rglob("*.json"):
        if path != chunk.with_suffix(".json"):
            path.unlink()
    sidecar = chunk.with_suffix(".json")
    sidecar.chmod(0o640)
    fields = json.loads(sidecar.read_text())
    half = fields | {"frames": fields["frames"] // 2, "tracks": {}}
    sidecar.write_text(json.dumps(half))
    assert cli.main(["turns", str(root), "--plot", str(root / "b.png")]) == 0
    assert (pixels_of(root / "b.png")[GUTTER + LANE // 2] != 255).any(axis=1).all()


@pytest.mark.parametrize("number", [10**400, 1 << 62, 1 << 48])
@pytest.mark.parametrize("name", ["frames", "start_frame", "bytes", "missing_before"])
def test_numbers_that_no_recording_has_are_told_and_fail(spoilt, capsys, name, number):
    root, chunk = spoilt
    sidecar = chunk.with_suffix(".json")
    sidecar.chmod(0o640)
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {name: number}))
    for command in ("turns", "verify"):
        assert cli.main([command, str(root)]) == 1
    told = "".join(capsys.readouterr())
    assert sidecar.name in told
    assert len(told) < 20_000


def test_a_picture_is_svg_or_png(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["turns", ".", "--plot", "a.gif"])
    assert ended.value.code == 2
