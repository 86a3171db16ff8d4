"""Reading the configuration again: all of it applies, or nothing, and everybody is told."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from edgerec.config import Config, ConfigError, Problem
from edgerec.service.reload import Reloader
from tests.rigs.waiting import PATIENCE_S


class Service:
    """Something to be configured."""

    def __init__(self):
        self.config = Config()
        self.applied = threading.Event()

    def apply(self, config, changes):
        self.config = config
        self.applied.set()


def reloader(service, config, **options):
    return Reloader(service, find=lambda: Path("kiosk.yaml"), load=lambda file: config, **options)


def test_what_the_file_says_applies_and_everybody_is_told():
    service, told = Service(), []
    new = replace(Config(), kiosk_id="lobby")
    changes = reloader(service, new, then=(told.append,)).reload()
    assert changes.paths == ("kiosk_id",)
    assert service.config == new
    assert told == [new]


def test_a_wrong_file_is_refused_whole_and_what_was_running_stays(caplog):
    service = Service()

    def load(file):
        raise ConfigError(file, [Problem("a", "wrong", "fix"), Problem("b", "wrong", "fix")])

    with pytest.raises(ConfigError) as refused:
        Reloader(service, find=lambda: Path("kiosk.yaml"), load=load).reload()
    assert len(refused.value.problems) == 2
    assert service.config == Config()
    (line,) = caplog.messages
    assert "a: wrong; fix" in line
    assert "b: wrong; fix" in line


def test_what_can_not_change_is_refused_with_all_the_rest():
    service = Service()
    control = replace(Config().control, socket=Path("/elsewhere"))
    new = replace(Config(), kiosk_id="lobby", control=control)
    with pytest.raises(ConfigError, match="restart the service") as refused:
        reloader(service, new).reload()
    assert [problem.path for problem in refused.value.problems] == ["control.socket"]
    assert service.config == Config()


def test_a_part_that_does_not_take_it_costs_the_others_nothing(caplog):
    told = []
    service = Service()
    new = replace(Config(), kiosk_id="lobby")
    reloader(service, new, then=(lambda config: 1 / 0, told.append)).reload()
    assert told == [new]
    assert "does not take the new configuration" in caplog.text


def test_a_signal_has_it_done_by_another_thread():
    service = Service()
    with reloader(service, replace(Config(), kiosk_id="lobby")) as asked:
        asked.ask()
        assert service.applied.wait(PATIENCE_S)
    assert service.config.kiosk_id == "lobby"
