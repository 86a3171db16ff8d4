"""Works out the configuration that makes this machine's loudspeaker recordable.

Pure except for `look`. On a sound server the monitor of the sink is recorded. On bare ALSA what is
played goes to the loudspeaker and to a snd-aloop card as well, through a `route` into a `multi`;
the card's other half is recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from edgerec import kernel
from edgerec.capture.devices.alsa_cards import ALOOP_DRIVER, ALSA_CARDS_FILE, parse_alsa_cards
from edgerec.capture.devices.sound_server import read_server, why_no_answer

MachineKind = Literal["pulseaudio", "pipewire", "alsa", "none"]

PCM_FILE: Final = Path("/proc/asound/pcm")
ASOUND_FILE: Final = Path("/etc/asound.conf")


@dataclass(frozen=True, slots=True)
class Machine:
    """The devices to play on and to record from."""

    kind: MachineKind
    sink: str | None = None
    """Default sink of the sound server."""
    speaker: str | None = None
    """ALSA's first card that plays and is not a loopback: `CARD,DEVICE`."""
    microphone: str | None = None
    """ALSA's first card that records and is not a loopback."""
    aloop: str | None = None
    """Id of the snd-aloop card; None: the module is not loaded."""
    unserved: str = ""
    """Reason why no sound server answers."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file to be written, with its content."""

    path: Path
    content: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to do so that the loudspeaker can be recorded."""

    found: str
    bot: str | None
    """Value for `tracks.bot.device`."""
    user: str | None
    """Value for `tracks.user.device`, where the microphone is to be shared."""
    files: tuple[ConfigFile, ...]
    """Files to write; the first is the one that `--write` writes."""
    steps: tuple[str, ...]
    """Steps to be done by hand, in order."""


def look() -> Machine:
    """Return what this machine has to play on and to record from."""
    server = read_server()
    if server is not None:
        kind: MachineKind = "pipewire" if server.is_pipewire else "pulseaudio"
        return Machine(kind, sink=server.default_sink)
    try:
        found = alsa_machine(kernel.read_text(ALSA_CARDS_FILE), kernel.read_text(PCM_FILE))
    except OSError:
        found = Machine("none")
    return replace(found, unserved=str(why_no_answer()))


def alsa_machine(cards_text: str, pcm_text: str) -> Machine:
    """Read /proc/asound/cards and /proc/asound/pcm."""
    cards = parse_alsa_cards(cards_text)
    speaker = microphone = None
    for line in kernel.lines(pcm_text):
        number, _, rest = line.partition("-")
        card = cards.get(int(number)) if number.isdecimal() else None
        if card is None or card.driver == ALOOP_DRIVER:
            continue
        device = f"{card.id},{int(rest.partition(':')[0])}"
        speaker = speaker or (device if "playback" in line else None)
        microphone = microphone or (device if "capture" in line else None)
    aloop = next((card.id for card in cards.values() if card.driver == ALOOP_DRIVER), None)
    kind: MachineKind = "alsa" if speaker or aloop else "none"
    return Machine(kind, speaker=speaker, microphone=microphone, aloop=aloop)


def recipe(machine: Machine) -> Recipe:
    """Return what makes the loudspeaker of a machine recordable."""
    if machine.kind in ("pulseaudio", "pipewire"):
        return _server_recipe(machine)
    if machine.speaker is None:
        return Recipe(
            "no sound server and no ALSA card that plays",
            bot=None,
            user=None,
            files=(),
            steps=(
                "plug the loudspeaker's card in, or start the sound server, and try again"
                + (f": {machine.unserved}" if machine.unserved else ""),
                "an assistant that has its audio in hand can push it instead: "
                "tracks.bot.source: feed, see `edgerec feed`",
            ),
        )
    return _alsa_recipe(machine.speaker, machine.microphone, machine.aloop)


def _server_recipe(machine: Machine) -> Recipe:
    name = {"pulseaudio": "PulseAudio", "pipewire": "PipeWire"}[machine.kind]
    if machine.sink is None:
        return Recipe(
            f"{name}, without a sink to play on",
            bot=None,
            user=None,
            files=(),
            steps=("plug the loudspeaker in; `pactl list short sinks` shows it then",),
        )
    bot = f"pulse:{machine.sink}.monitor"
    return Recipe(
        f"{name}; what is played goes to {machine.sink}, whose monitor can be recorded",
        bot=bot,
        user=None,
        files=(
            ConfigFile(Path("edgerec.yaml"), f"tracks:\n  bot: {{device: {bot!r}, channels: 2}}\n"),
        ),
        steps=(
            "name the microphone as well, as tracks.user.device: `edgerec devices` lists it",
            "the assistant and edgerec may record the same microphone: the server shares it",
            "edgerec must run in the session of the server, or reach it by PULSE_SERVER",
        ),
    )


def _alsa_recipe(speaker: str, microphone: str | None, aloop: str | None) -> Recipe:
    name = aloop or "Loopback"
    files = [ConfigFile(ASOUND_FILE, asound_conf(speaker, microphone, name))]
    steps = ["play on the device `default` (or `edgerec_speaker`); nothing else may hold the card"]
    if aloop is None:
        card, device = speaker.split(",")
        files += [
            ConfigFile(Path("/etc/modules-load.d/edgerec-aloop.conf"), "snd-aloop\n"),
            ConfigFile(
                Path("/etc/modprobe.d/edgerec-aloop.conf"),
                # On the loudspeaker's own clock: two that drift apart would break the multi.
                f"options snd-aloop id={name} pcm_substreams=1 timer_source=hw:{card},{device},0\n",
            ),
        ]
        steps.insert(0, "write the three files, then: modprobe snd-aloop (or start again)")
    return Recipe(
        f"ALSA without a sound server; {speaker} plays, "
        + ("snd-aloop is not loaded" if aloop is None else f"snd-aloop is the card {aloop}"),
        bot=f"alsa:{name},1",
        user="edgerec_mic" if microphone else None,
        files=tuple(files),
        steps=tuple(steps),
    )


def asound_conf(speaker: str, microphone: str | None, aloop: str) -> str:
    """Return ALSA's configuration that plays on a loudspeaker and into a loopback at once."""
    capture = '    capture.pcm "edgerec_mic"\n' if microphone else ""
    return _PLAYBACK.format(speaker=speaker, aloop=aloop, capture=capture) + (
        _CAPTURE.format(microphone=microphone) if microphone else ""
    )


_PLAYBACK: Final = """\
# Made by `edgerec loopback`: what is played on `default` goes to the loudspeaker and to snd-aloop,
# whose other half is recorded as alsa:{aloop},1.
pcm.!default {{
    type asym
    playback.pcm "edgerec_speaker"
{capture}}}
pcm.edgerec_speaker {{
    type plug
    slave.pcm "edgerec_both"
}}
pcm.edgerec_both {{
    type route
    slave.channels 4
    slave.pcm {{
        type multi
        slaves.speaker.pcm "hw:{speaker}"
        slaves.speaker.channels 2
        slaves.loopback.pcm "hw:{aloop},0,0"
        slaves.loopback.channels 2
        bindings.0 {{ slave speaker channel 0 }}
        bindings.1 {{ slave speaker channel 1 }}
        bindings.2 {{ slave loopback channel 0 }}
        bindings.3 {{ slave loopback channel 1 }}
    }}
    ttable.0.0 1
    ttable.1.1 1
    ttable.0.2 1
    ttable.1.3 1
}}
"""
_CAPTURE: Final = """\
# The microphone, for edgerec and the assistant at once: both open `edgerec_mic`.
pcm.edgerec_mic {{
    type plug
    slave.pcm "edgerec_mic_shared"
}}
pcm.edgerec_mic_shared {{
    type dsnoop
    ipc_key 684019
    ipc_perm 0660
    slave.pcm "hw:{microphone}"
    slave.rate 48000
}}
"""


def yaml_lines(found: Recipe) -> Sequence[str]:
    """Return what goes into edgerec's own configuration."""
    if found.bot is None:
        return ()
    lines = ["tracks:"]
    if found.user is not None:
        lines.append(f"  user: {{device: {found.user!r}}}")
    lines.append(f"  bot: {{device: {found.bot!r}, channels: 2}}")
    return lines
