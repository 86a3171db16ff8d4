"""Which parts do the settings of turns ask for?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from edgerec.clock import Clock
from edgerec.config import Config
from edgerec.engine.session_turns import SessionTurns
from edgerec.engine.turn_loop import TurnLoop
from edgerec.session.speech_gate import SpeechGate
from edgerec.session.timeline import SessionTimeline
from edgerec.turns.detectors import Detectors
from edgerec.turns.open_turn import TurnRules
from edgerec.turns.tracker import TurnTracker

YIELDS_S: Final = 1.0
"""A bot that was cut off falls silent within so long: what an assistant takes to notice, and what
is on its way to the loudspeaker by then."""
NOTICED_S: Final = 2.0  # by then a turn's beginning is on its way to the disk
LATE_S: Final = 5.0  # a detector that loads, or waits for the CPU, before speech is not waited for


def turn_rules(config: Config, rate: int) -> TurnRules:
    """Return what makes a turn on a timeline of this rate."""
    turns = config.turns
    return TurnRules(
        pre_roll=round(turns.pre_roll_s * rate),
        hangover=round(turns.hangover_s * rate),
        min_speech=round(turns.min_speech_s * rate),
        max_turn=round(turns.max_turn_s * rate),
    )


def turn_history_s(config: Config) -> float:
    """Return how much more history turns need: they begin before they are noticed."""
    if config.speech_only:
        return gate_patience_s(config)
    return _noticed_s(config) + NOTICED_S if config.recording.enable_turn_audio else 0.0


def gate_patience_s(config: Config) -> float:
    """Return how long it may be open whether the user speaks before all of it is recorded."""
    return _noticed_s(config) + LATE_S


def build_session_turns(config: Config, timeline: SessionTimeline) -> SessionTurns:
    """Return what finds the turns of a session."""
    rate = timeline.rate
    gate = None
    if config.speech_only:
        gate = SpeechGate(
            patience=round(gate_patience_s(config) * rate), reach=timeline.history.capacity
        )
    return SessionTurns(
        timeline,
        partial(Detectors, rate, config.turns.detector.user),
        TurnTracker(turn_rules(config, rate), yields=round(YIELDS_S * rate)),
        gate,
    )


def build_turn_loop(configured: Callable[[], Config], clock: Clock) -> TurnLoop | None:
    """Return what finds the turns of all sessions; None: nobody wants them.

    Parameters
    ----------
    configured
        Returns the settings of now, which hold for a session from its begin on.
    """
    if not configured().finds_turns:
        return None
    return TurnLoop(clock, lambda timeline: build_session_turns(configured(), timeline))


def _noticed_s(config: Config) -> float:
    turns = config.turns
    return turns.pre_roll_s + turns.hangover_s + 2 * turns.min_speech_s
