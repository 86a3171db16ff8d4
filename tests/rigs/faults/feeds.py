"""What applications push into a feed: a tone to be found again, and everything else."""

import contextlib
import random
import socket

import numpy as np

from edgerec.audio import Block, DeviceFrame, StreamHeader
from edgerec.clock import raw_now_ns
from edgerec.service.control.client import ServiceConnection, ServiceError
from edgerec.wire.blocks import encode_block, encode_stream_header

RATE = 16_000
TONE_HZ = 1_000.0
TONE_S = 0.5
S = 1_000_000_000


def tone(rate=RATE, seconds=TONE_S):
    turns = TONE_HZ * np.arange(round(rate * seconds)) / rate
    return (12_000 * np.sin(2 * np.pi * turns)).astype("<i2").tobytes()


def header(rate=RATE, channels=1, track="bot"):
    return encode_stream_header(StreamHeader(rate, channels, track, "tts", "monotonic_raw"))


def block(pcm, first=0, arrived_ns=0, channels=1):
    return encode_block(
        Block(DeviceFrame(first), len(pcm) // (2 * channels), arrived_ns, 0, 0, pcm)
    )


def play(connection: ServiceConnection) -> bool:
    """Push a tone; return whether all of it was taken."""
    try:
        connection.request("feed", {"track": "bot"})
        connection.send(header() + block(tone()))
        connection.finish()
        return connection.answer(None)["frames"] == round(RATE * TONE_S)
    except (ServiceError, OSError):
        return False


def garbage_header(rng):
    return rng.randbytes(rng.randrange(1, 5000)) + b"\n"


def hostile_header(rng):
    return header(
        rng.choice([1, 4_000, 384_000, 10**9]), rng.choice([1, 2, 64]), rng.choice(["user", "bot"])
    )


def garbage_behind_a_header(rng):
    return header() + rng.randbytes(rng.randrange(1, 100_000))


def cut_in_a_block(rng):
    return header() + block(tone())[: rng.randrange(1, 10_000)]


def burst(rng):
    """Twenty seconds at once, at any rate."""
    rate = rng.choice([8_000, 16_000, 48_000])
    return header(rate) + block(tone(rate, 1.0)) * 20


def lying_stamps(rng):
    """A live device whose stamps jump."""
    now_ns = raw_now_ns()
    stamps = (now_ns + rng.randrange(-20 * S, 20 * S) for _ in range(40))
    return header() + b"".join(
        block(tone(seconds=0.1), at * 1600, ns) for at, ns in enumerate(stamps)
    )


def other_rate(rng):
    """A live device that delivers at another rate than it says."""
    now_ns = raw_now_ns()
    said, real = rng.choice([(8_000, 48_000), (48_000, 8_000), (16_000, 44_100)])
    frames = real // 20
    pcm = tone(real, 0.05)
    return header(said) + b"".join(
        block(pcm, at * frames, now_ns + at * S // 20) for at in range(20)
    )


SHAPES = {
    "a garbage header": garbage_header,
    "a header that lies": hostile_header,
    "garbage behind a header": garbage_behind_a_header,
    "closed in mid-block": cut_in_a_block,
    "a burst": burst,
    "stamps that jump": lying_stamps,
    "another rate than it says": other_rate,
}


def misbehave(connect, shape, rng: random.Random) -> None:
    """Push a shape into the feed, in pieces, and close it one way or another."""
    with contextlib.suppress(ServiceError, OSError), connect() as connection:
        connection.request("feed", {"track": "bot"})
        data = SHAPES[shape](rng)
        raw = connection._socket
        raw.settimeout(1.0)  # a feed that is full is not read
        for at in range(0, len(data), 50_000):
            raw.sendall(data[at : at + 50_000])
        if rng.random() < 0.5:
            raw.shutdown(socket.SHUT_WR)
