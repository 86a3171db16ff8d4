"""WAV files as recorders, programs and pipes write them: read right, or refused with a reason."""

import io
import os
import shutil
import struct
import subprocess
import tracemalloc
import wave
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.audio import Block, StreamHeader
from edgerec.wire.blocks import Decoder, WireError
from edgerec.wire.pcm import PcmInputError, block_stream
from edgerec.wire.trace import TraceError, open_input
from edgerec.wire.wav import MAX_BYTES, START_BYTES, read_wav_header, wav_chunk, wav_header

RATE = 16_000
TONE = np.rint(9_000 * np.sin(np.arange(4_001) * 0.17)).astype(np.int16)
PCM = TONE.astype("<i2").tobytes()
PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")


@dataclass(frozen=True)
class Wav:
    """A WAV file put together from its parts."""

    kind: int = 1
    bits: int = 16
    frame_bytes: int = 2
    channels: int = 1
    valid_bits: int | None = None  # a number: extensible
    guid: bytes = PCM_GUID
    audio: bytes = PCM
    before: bytes = b""
    after: bytes = b""
    audio_size: int | None = None
    riff_size: int | None = None
    start: bytes = b"RIFF"

    def encode(self):
        kind = self.kind if self.valid_bits is None else 0xFFFE
        fmt = struct.pack(
            "<HHIIHH",
            kind,
            self.channels,
            RATE,
            RATE * self.frame_bytes,
            self.frame_bytes,
            self.bits,
        )
        if self.valid_bits is not None:
            fmt += struct.pack("<HHI16s", 22, self.valid_bits, 0, self.guid)
        size = len(self.audio) if self.audio_size is None else self.audio_size
        head = chunk(b"fmt ", fmt) + self.before + b"data" + struct.pack("<I", size)
        pad = b"\0" * (len(self.audio) % 2) if self.after else b""
        body = b"WAVE" + head + self.audio + pad + self.after
        riff_size = len(body) if self.riff_size is None else self.riff_size
        return self.start + struct.pack("<I", riff_size) + body


def chunk(kind, content, *, size=None, padding=b"\0"):
    said = len(content) if size is None else size
    return kind + struct.pack("<I", said) + content + (padding if said % 2 else b"")


def integers(width, *, used=None, shift=0):
    """The tone as integers of `used` of `width` bytes, with something in the lower bits."""
    used = width if used is None else used
    extra_bits = 8 * (used - 2)
    wide = ((TONE.astype(np.int64) << extra_bits) + (1 << extra_bits) // 3) >> shift << shift
    return b"".join(int(value).to_bytes(width, "little", signed=True) for value in wide)


U8 = (TONE.astype(int) // 256 + 128).astype(np.uint8).tobytes()
FLOATS = TONE / 32_768
BEXT = chunk(b"bext", b"a field recorder".ljust(602, b"\0") + b"odd" * 3)
DS64 = struct.pack("<QQQI", 0, len(PCM), len(TONE), 0)
RF64 = {"start": b"RF64", "riff_size": 0xFFFF_FFFF, "audio_size": 0xFFFF_FFFF}


def long_wav(start=b"RF64", lengths=DS64, **parts):
    """An RF64 or BW64 file, whose lengths stand in front."""
    data = Wav(**{**RF64, "start": start, **parts}).encode()
    return data[:12] + chunk(b"ds64", lengths) + data[12:]


FORMS = {
    "8 bits": Wav(bits=8, frame_bytes=1, audio=U8).encode(),
    "16 bits": Wav().encode(),
    "12 bits at the upper end of 2 bytes": Wav(bits=12).encode(),
    "24 bits": Wav(bits=24, frame_bytes=3, audio=integers(3)).encode(),
    "24 bits in 4 bytes, arecord": Wav(bits=24, frame_bytes=4, audio=integers(4, used=3)).encode(),
    "24 bits in 4 bytes, the fourth as the driver left it": Wav(
        bits=24,
        frame_bytes=4,
        audio=bytes(0x5A if at % 4 == 3 else byte for at, byte in enumerate(integers(4, used=3))),
    ).encode(),
    "32 bits": Wav(bits=32, frame_bytes=4, audio=integers(4)).encode(),
    "32-bit floats": Wav(3, 32, 4, audio=FLOATS.astype("<f4").tobytes()).encode(),
    "64-bit floats": Wav(3, 64, 8, audio=FLOATS.astype("<f8").tobytes()).encode(),
    "extensible, 16 bits": Wav(valid_bits=16).encode(),
    "extensible, valid bits not filled in": Wav(valid_bits=0).encode(),
    "extensible, 20 of 24 bits": Wav(
        bits=24, frame_bytes=3, valid_bits=20, audio=integers(3, shift=4)
    ).encode(),
    "extensible, 24 of 32 bits": Wav(
        bits=32, frame_bytes=4, valid_bits=24, audio=integers(4, shift=8)
    ).encode(),
    "extensible, floats": Wav(
        bits=32,
        frame_bytes=4,
        valid_bits=32,
        guid=b"\x03" + PCM_GUID[1:],
        audio=FLOATS.astype("<f4").tobytes(),
    ).encode(),
    "extensible, Ambisonic": Wav(
        valid_bits=16, guid=bytes.fromhex("010000002107d3118644c8c1ca000000")
    ).encode(),
    "BWF, with iXML behind": Wav(before=BEXT, after=chunk(b"iXML", b"<BWFXML/>")).encode(),
    "JUNK in front": Wav(before=chunk(b"JUNK", bytes(28)) + BEXT).encode(),
    "odd tags, padded": Wav(before=chunk(b"LIST", b"odd")).encode(),
    "odd tags, padded with something": Wav(before=chunk(b"LIST", b"odd", padding=b"x")).encode(),
    "odd tags, not padded": Wav(before=chunk(b"LIST", b"odd", padding=b"")).encode(),
    "odd tags of its own, not padded": Wav(
        before=chunk(b"odd ", b"odd", padding=b"") + chunk(b"tag1", b"more", padding=b"")
    ).encode(),
    "length 0 and 0, killed": Wav(audio_size=0, riff_size=0).encode(),
    "length 0 after a first header": Wav(audio_size=0, riff_size=36).encode(),
    "lengths of 4 GiB, ffmpeg into a pipe": Wav(
        audio_size=0xFFFF_FFFF, riff_size=0xFFFF_FFFF
    ).encode(),
    "lengths of 2 GiB, arecord into a pipe": Wav(
        audio_size=0x8000_0000, riff_size=0x8000_0024
    ).encode(),
    "lengths of 2 GiB, sox into a pipe": Wav(
        audio_size=0x7FFF_F000, riff_size=0x7FFF_F024
    ).encode(),
    "a length of the whole that is wrong": Wav(riff_size=7).encode(),
    "RF64": long_wav(after=chunk(b"iXML", b"<BWFXML/>")),
    "BW64": long_wav(b"BW64"),
    "RF64 into a pipe": long_wav(lengths=bytes(28)),
    "RF64 whose audio needs no long length": long_wav(
        audio_size=len(PCM), after=chunk(b"iXML", b"<BWFXML/>")
    ),
}


def by_soundfile(**form):
    def write(path):
        floats = form["subtype"] in ("FLOAT", "DOUBLE")
        soundfile.write(path, FLOATS if floats else TONE, RATE, **form)

    return write


def by_program(name, *arguments, piped=False):
    """A program's WAV file of the tone, which it reads as raw PCM."""

    def write(path):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
        command = [name, *arguments, "-" if piped else str(path)]
        done = subprocess.run(command, input=PCM, capture_output=True, check=True)
        if piped:
            path.write_bytes(done.stdout)

    return write


def by_ffmpeg(*arguments, piped=False):
    source = ("-v", "error", "-f", "s16le", "-ar", str(RATE), "-ac", "1", "-i", "-")
    return by_program("ffmpeg", *source, *arguments, "-f", "wav", piped=piped)


def by_sox(*arguments, piped=False):
    source = ("-D", "-t", "raw", "-r", str(RATE), "-e", "signed", "-b", "16", "-c", "1", "-")
    return by_program("sox", *source, "-t", "wav", *arguments, piped=piped)


WRITTEN: dict[str, Callable] = {
    **{
        f"soundfile {container} {subtype}": by_soundfile(format=container, subtype=subtype)
        for container in ("WAV", "WAVEX", "RF64")
        for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
    },
    **{
        f"ffmpeg {codec}": by_ffmpeg("-c:a", f"pcm_{codec}")
        for codec in ("u8", "s16le", "s24le", "s32le", "f32le", "f64le")
    },
    "ffmpeg with tags": by_ffmpeg("-metadata", "title=odd", "-write_bext", "1"),
    "ffmpeg RF64": by_ffmpeg("-rf64", "always"),
    "ffmpeg RF64 into a pipe": by_ffmpeg("-rf64", "always", piped=True),
    "ffmpeg into a pipe": by_ffmpeg(piped=True),
    **{
        f"sox {encoding} {bits}": by_sox("-e", encoding, "-b", str(bits))
        for encoding, bits in (
            ("unsigned", 8),
            ("signed", 16),
            ("signed", 24),
            ("signed", 32),
            ("float", 32),
            ("float", 64),
        )
    },
    "sox into a pipe": by_sox(piped=True),
}


def pushed(path):
    """What `edgerec feed` makes of a file."""
    decoder = Decoder()
    with path.open("rb") as file:
        for piece in block_stream(file, "bot", path.name, None):
            yield from decoder.feed(piece)


def replayed(path):
    """What `edgerec replay` makes of a file."""
    return open_input(path, "bot")


WAYS = [pushed, replayed]


@pytest.fixture(params=WAYS)
def read(request):
    """Read a WAV file in each of the ways there are; returns its channels and audio."""

    def reading(path):
        header, *blocks = request.param(path)
        assert isinstance(header, StreamHeader)
        assert header.sample_rate == RATE
        assert all(isinstance(block, Block) for block in blocks)
        return header.channels, b"".join(block.pcm for block in blocks)

    return reading


def audio_of(messages):
    _, *blocks = messages
    return np.frombuffer(b"".join(block.pcm for block in blocks), "<i2").astype(int)


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_read_to_the_sample(read, tmp_path, name):
    path = tmp_path / "x.wav"
    path.write_bytes(FORMS[name])
    channels, pcm = read(path)
    samples = np.frombuffer(pcm, "<i2").astype(int)
    assert channels == 1
    assert len(samples) == len(TONE)
    assert np.abs(samples - TONE).max() <= (255 if name == "8 bits" else 0)


# soundfile takes the first for floats of 1998, and a length that was never filled in for true.
NOT_BY_SOUNDFILE = (
    "24 bits in 4 bytes",
    "length",
    "RF64 into a pipe",
    "BW64",
    "odd tags, not",
    "odd tags of",
)


def by_wave(path):
    """What the standard library reads, in 8 and 16 bits."""
    with wave.open(str(path)) as file:
        data, width = file.readframes(file.getnframes()), file.getsampwidth()
    if width == 1:
        return np.frombuffer(data, np.uint8).astype(int) * 256 - 32_768
    return np.frombuffer(data, "<i2").astype(int)


@pytest.mark.parametrize("name", [name for name in FORMS if not name.startswith(NOT_BY_SOUNDFILE)])
def test_soundfile_reads_the_same(tmp_path, name):
    path = tmp_path / "x.wav"
    path.write_bytes(FORMS[name])
    assert np.abs(soundfile.read(path)[0] * 32_768 - audio_of(replayed(path))).max() < 1


@pytest.mark.parametrize(
    "name",
    [
        "8 bits",
        "16 bits",
        "BWF, with iXML behind",
        "JUNK in front",
        "odd tags, padded",
        "odd tags, padded with something",
    ],
)
def test_the_standard_library_reads_the_same(tmp_path, name):
    path = tmp_path / "x.wav"
    path.write_bytes(FORMS[name])
    assert (by_wave(path) == audio_of(replayed(path))).all()


@pytest.mark.parametrize("name", WRITTEN)
def test_what_programs_write_is_read_to_the_sample(read, tmp_path, name):
    path = tmp_path / "x.wav"
    WRITTEN[name](path)
    _, pcm = read(path)
    ours = np.frombuffer(pcm, "<i2")
    assert len(ours) == len(TONE)
    eight_bits = any(word in name for word in ("U8", "u8", "unsigned"))
    assert np.abs(ours - TONE.astype(int)).max() <= (255 if eight_bits else 1)
    if "pipe" not in name:
        assert np.abs(soundfile.read(path)[0] * 32_768 - ours).max() < 1


def test_audio_of_a_size_that_stands_for_none_known_ends_where_the_file_has_more(tmp_path):
    size = 0x7FFF_F000
    path = tmp_path / "x.wav"
    head = Wav(audio=b"", audio_size=size, riff_size=size + 46).encode()
    with path.open("wb") as file:  # sparse
        file.write(head)
        file.seek(len(head) + size)
        file.write(chunk(b"LIST", b"tags"))
    with path.open("rb") as file:
        start = file.read(START_BYTES)
        assert read_wav_header(start, file, path.stat().st_size)[1] == size


def test_numbers_that_are_none_and_floats_over_full_scale_are_bounded(read, tmp_path):
    odd = np.array([np.nan, np.inf, -np.inf, 1e300, -1e300, 1.0, -1.0, 0.5], "<f8")
    for width in (4, 8):
        path = tmp_path / f"{width}.wav"
        with np.errstate(over="ignore"):
            audio = odd.astype(f"<f{width}").tobytes()
        path.write_bytes(Wav(3, 8 * width, width, audio=audio).encode())
        expected = [0, 32_767, -32_768, 32_767, -32_768, 32_767, -32_768, 16_384]
        assert np.frombuffer(read(path)[1], "<i2").tolist() == expected


@pytest.mark.parametrize("channels", [2, 8])
def test_more_channels_are_interleaved_as_they_were(read, tmp_path, channels):
    frames = b"".join(
        bytes([0, n, channel, n % 7]) for n in range(256) for channel in range(channels)
    )
    form = Wav(bits=32, frame_bytes=4 * channels, channels=channels, valid_bits=32, audio=frames)
    path = tmp_path / "x.wav"
    path.write_bytes(form.encode())
    expected = b"".join(frames[at + 2 : at + 4] for at in range(0, len(frames), 4))
    assert read(path) == (channels, expected)


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(sorted(FORMS)),
    changes=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=4),
    length=st.integers(0, 9_000),
)
def test_whatever_a_header_says_it_is_read_or_refused(tmp_path_factory, name, changes, length):
    data = bytearray(FORMS[name][:length])
    for at, byte in changes:
        data[at:at] = b"" if at >= len(data) else bytes([byte])
        del data[at + 1 : at + 2]
    path = tmp_path_factory.getbasetemp() / "odd.wav"
    path.write_bytes(data)
    for way, error in zip(WAYS, (PcmInputError, TraceError), strict=True):
        try:
            blocks = [message for message in way(path) if isinstance(message, Block)]
        except (error, WireError):
            continue
        assert sum(len(block.pcm) for block in blocks) <= 2 * len(data)


def test_a_file_may_be_called_anything(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9 \x1b[2J\n" + b"x" * 200 + b".wav")
    path.write_bytes(Wav().encode())
    for way in WAYS:
        header, *_ = way(path)
        assert header.device == "caf? ?[2J?" + "x" * 200 + ".wav"


def test_no_audio_before_tags_is_no_audio(read, tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(Wav(audio=b"", after=chunk(b"LIST", b"tags")).encode())
    assert read(path) == (1, b"")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (Wav(6, 8, 1).encode(), "A-law.*ffmpeg"),
        (Wav(7, 8, 1).encode(), "mu-law.*ffmpeg"),
        (Wav(17, 4, 256).encode(), "IMA ADPCM.*ffmpeg"),
        (Wav(0x161).encode(), "format 353, 16 bits"),
        (Wav(3).encode(), "format 3, 16 bits"),
        (Wav(bits=0).encode(), "0 bits"),
        (Wav(bits=64, frame_bytes=8).encode(), "64 bits"),
        (Wav(frame_bytes=0).encode(), "16 bits, 1 channels in 0 bytes"),
        (Wav(frame_bytes=4).encode(), "16 bits, 1 channels in 4 bytes"),
        (Wav(frame_bytes=3, channels=2).encode(), "16 bits, 2 channels in 3 bytes"),
        (Wav(bits=24, frame_bytes=4, valid_bits=24).encode(), "24 bits, 1 channels in 4 bytes"),
        (Wav(valid_bits=16, guid=b"\x01" + bytes(15)).encode(), "format 0"),
        (Wav(start=b"RIFX").encode(), "big-endian"),
        (b"riff\x2e\x91\xcf\x11" + bytes(100), "Wave64.*ffmpeg"),
        (Wav(before=chunk(b"LIST", bytes(50), size=20)).encode(), "damaged.*no chunk begins"),
        (Wav(before=chunk(b"LIST", bytes(50), size=50_000)).encode(), "damaged.*LIST.*50000"),
        (long_wav(lengths=b"").replace(b"data", b"dada"), "without audio"),
        (Wav().encode()[:12] + chunk(b"data", PCM), "without a format"),
    ],
)
def test_what_can_not_be_read_right_is_refused_with_the_reason(tmp_path, data, reason):
    path = tmp_path / "x.wav"
    path.write_bytes(data)
    with pytest.raises(TraceError, match=reason):
        list(replayed(path))
    with pytest.raises(PcmInputError, match=reason):
        list(pushed(path))


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"format": "WAV", "subtype": "ULAW"}, "mu-law"),
        ({"format": "WAV", "subtype": "ALAW"}, "A-law"),
        ({"format": "WAVEX", "subtype": "ALAW"}, "A-law"),
        ({"format": "WAV", "subtype": "IMA_ADPCM"}, "IMA ADPCM"),
        ({"format": "WAV", "subtype": "MS_ADPCM"}, "ADPCM"),
        ({"format": "WAV", "subtype": "GSM610"}, "GSM"),
        ({"format": "W64", "subtype": "PCM_16"}, "Wave64"),
        ({"format": "WAV", "subtype": "PCM_16", "endian": "BIG"}, "big-endian"),
    ],
)
def test_other_codecs_and_containers_are_refused_by_name(tmp_path, form, reason):
    path = tmp_path / "x.wav"
    soundfile.write(path, TONE, RATE, **form)
    with pytest.raises(TraceError, match=reason):
        list(replayed(path))


def test_tags_before_the_audio_are_passed_over_in_fixed_memory(read, tmp_path):
    picture = 20_000_000
    path = tmp_path / "x.wav"
    path.write_bytes(Wav(before=chunk(b"LIST", bytes(picture))).encode())
    tracemalloc.start()
    try:
        assert read(path) == (1, PCM)
        assert tracemalloc.get_traced_memory()[1] < picture / 10
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("rate", "channels"), [(4_000, 1), (16_000, 2), (48_000, 16)])
def test_a_header_is_what_the_standard_library_writes(rate, channels):
    audio = bytes(2 * channels * 30)
    file = io.BytesIO()
    with wave.open(file, "wb") as other:
        other.setparams((channels, 2, rate, 0, "NONE", ""))
        other.writeframes(audio)
    assert wav_header(rate, channels, len(audio)) + audio == file.getvalue()


@pytest.mark.parametrize(
    "chunks", [b"", wav_chunk(b"bext", bytes(602)) + wav_chunk(b"LIST", b"a ")]
)
@pytest.mark.parametrize(("size", "told"), [(8, 8), (MAX_BYTES, None)])
def test_a_header_is_read_back_with_chunks_before_the_audio(chunks, size, told):
    header = wav_header(44_100, 2, size, chunks)
    pcm, found = read_wav_header(header[:START_BYTES], io.BytesIO(header[START_BYTES:]))
    assert (pcm.sample_rate, pcm.channels, found) == (44_100, 2, told)
    assert len(header) == 44 + len(chunks)
