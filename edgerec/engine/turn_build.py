"""Builds the components that find turns, from the settings."""

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
"""Time within which an interrupted bot falls silent: the assistant's reaction, and the audio that
is on its way to the loudspeaker by then."""
NOTICED_S: Final = 2.0  # by then a turn's beginning is on its way to the disk
LATE_S: Final = 5.0  # patience with a detector that loads, or waits for the CPU


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
    """Return how long speech may stay undecided before everything is recorded."""
    return _noticed_s(config) + LATE_S


def build_session_turns(config: Config, timeline: SessionTimeline) -> SessionTurns:
    """Return the component that finds a session's turns."""
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
    """Return the component that finds all sessions' turns; None: they are not configured.

    Parameters
    ----------
    configured
        Returns the current settings, which hold for a session from its beginning on.
    """
    if not configured().finds_turns:
        return None
    return TurnLoop(clock, lambda timeline: build_session_turns(configured(), timeline))


def _noticed_s(config: Config) -> float:
    turns = config.turns
    return turns.pre_roll_s + turns.hangover_s + 2 * turns.min_speech_s
