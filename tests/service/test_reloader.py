"""Reading the configuration again: all of it applies, or nothing, and everybody is told."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from edgerec.config import Config, ConfigError, HooksConfig, MetricsConfig, Problem, load_config
from edgerec.engine.plan import Plan
from edgerec.service.reload import Reloader
from tests.rigs.waiting import PATIENCE_S, wait_for


class Service:
    """Something to be configured."""

    def __init__(self):
        self.plan = Plan.of(Config())
        self.applied = threading.Event()

    @property
    def config(self):
        return self.plan.config

    @config.setter
    def config(self, config):
        self.plan = Plan.of(config)

    def apply(self, plan, changes):
        self.plan = plan
        self.applied.set()


def reloader(service, config, **options):
    return Reloader(service, Path("kiosk.yaml"), load=lambda file: config, **options)


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
        Reloader(service, Path("kiosk.yaml"), load=load).reload()
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
    assert "failed to apply the new configuration" in caplog.text


def test_a_signal_has_it_done_by_another_thread():
    service = Service()
    with reloader(service, replace(Config(), kiosk_id="lobby")) as asked:
        asked.ask()
        assert service.applied.wait(PATIENCE_S)
    assert service.config.kiosk_id == "lobby"


# What the status says of the file

GOOD = "tracks: {user: {source: simulated}, bot: {source: none}}\n"


@pytest.fixture
def kiosk(tmp_path):
    """A service that was started with a file, its reloader, and the file."""
    file = tmp_path / "kiosk.yaml"
    file.write_text(GOOD)
    service = Service()
    service.config = load_config(file)
    watching = Reloader(service, file)
    watching.look()
    return service, watching, file


def refused(watching):
    with pytest.raises(ConfigError):
        watching.reload()


def reasons(watching):
    watching.look()
    return [(one.code, one.track) for one in watching.reasons]


@pytest.mark.parametrize(
    "text", [None, "", "# nothing\n", GOOD[:-1], GOOD[:30], "tracks:\n", GOOD + "recordin: {}\n"]
)
@pytest.mark.parametrize("asked", [True, False])
def test_a_file_that_would_be_refused_is_a_reason_until_it_is_right(kiosk, text, asked):
    service, watching, file = kiosk
    before = service.config
    assert reasons(watching) == []
    file.unlink() if text is None else file.write_text(text)
    if asked:
        refused(watching)
    assert reasons(watching) == reasons(watching) == [("config", None)]
    (reason,) = watching.reasons
    assert str(file) in reason.why
    assert "edgerec check" in reason.hint
    assert service.config is before
    file.write_text(GOOD)
    assert reasons(watching) == []


def test_what_needs_a_restart_is_a_reason_only_once_it_was_refused(kiosk):
    _, watching, file = kiosk
    file.write_text(f"{GOOD}storage: {{root: /elsewhere/edgerec}}\n")
    assert reasons(watching) == []  # the next start takes it
    refused(watching)
    assert reasons(watching) == [("config", None)]
    assert "storage.root: can't change while the service runs" in watching.reasons[0].why
    file.write_text(f"{GOOD}kiosk_id: lobby\n")
    assert reasons(watching) == []


def test_a_refusal_goes_with_the_reload_that_succeeds(kiosk):
    service, watching, file = kiosk
    file.write_text("tracks: {}\n")
    refused(watching)
    file.write_text(f"{GOOD}kiosk_id: lobby\n")
    watching.reload()
    assert service.config.kiosk_id == "lobby"
    assert watching.reasons == ()


def test_a_file_that_does_not_change_is_not_read_again(kiosk, monkeypatch):
    _, watching, _ = kiosk
    monkeypatch.setattr(watching, "_load", lambda file: pytest.fail("read"))
    watching.look()


def test_many_problems_are_told_by_the_first_and_a_number(kiosk):
    _, watching, file = kiosk
    file.write_text(GOOD + "".join(f"key{n}: 1\n" for n in range(1_000)))
    assert reasons(watching) == [("config", None)]
    assert "key0: unknown" in watching.reasons[0].why
    assert "(and 999 more)" in watching.reasons[0].why
    assert len(watching.reasons[0].why) < 500


def test_the_file_it_was_started_with_stays_the_one_though_another_appears(kiosk, monkeypatch):
    service, watching, file = kiosk
    other = file.with_name("other.yaml")
    other.write_text(f"{GOOD}kiosk_id: other\n")
    monkeypatch.setenv("EDGEREC_CONFIG", str(other))
    file.unlink()
    refused(watching)
    assert service.config.kiosk_id is None


def test_what_a_configuration_names_and_is_not_there_is_a_reason_while_it_is_not(kiosk, tmp_path):
    service, watching, _ = kiosk
    program, folder = tmp_path / "notify", tmp_path / "metrics"
    service.config = replace(
        service.config,
        hooks=HooksConfig(on_chunk=(str(program),)),
        metrics=MetricsConfig(textfile=folder / "edgerec.prom"),
    )
    assert reasons(watching) == [("hooks", None), ("metrics", None)]
    program.write_text("#!/bin/sh\n")
    folder.mkdir()
    assert reasons(watching) == [("hooks", None)]
    assert "can't be run" in watching.reasons[0].why
    program.chmod(0o755)
    assert reasons(watching) == []


def test_a_thread_of_its_own_looks_from_the_start_on_and_ends(kiosk):
    service, _, file = kiosk
    service.config = replace(service.config, hooks=HooksConfig(on_turn=("/no/such/program",)))
    threads = []

    def make_thread(**how):
        threads.append(threading.Thread(**how))
        return threads[-1]

    with Reloader(service, file, make_thread=make_thread) as watching:
        wait_for(lambda: watching.reasons)
    assert not threads[0].is_alive()
