import json
import re
import threading
from dataclasses import replace

import pytest
import yaml

from edgerec.health.snapshot import status_of
from edgerec.service import metrics
from edgerec.service.metrics import MetricsFile, exposition
from tests import CHECKOUT
from tests.rigs.made_statuses import FACTS, FULL, WELL, writing
from tests.rigs.waiting import PATIENCE_S, wait_for

MONITORING = CHECKOUT / "systemd" / "monitoring"


def samples(facts):
    """The text format read back: value by name and labels."""
    lines = exposition(status_of(facts)).splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def test_numbers_are_in_base_units_with_their_labels():
    told = samples(WELL)
    assert told['edgerec_state{state="ok"}'] == "1"
    assert told['edgerec_state{state="failed"}'] == "0"
    assert told["edgerec_recording"] == "1.0"
    assert told['edgerec_track_up{track="user"}'] == "1"
    assert float(told['edgerec_track_residual_seconds{track="user"}']) == pytest.approx(18e-6)
    assert told['edgerec_track_gaps_total{track="user",reason="stall"}'] == "2"
    assert told['edgerec_track_gap_seconds_total{track="user",reason="stall"}'] == "2.5"
    assert told["edgerec_storage_left_seconds"] == "900000.0"
    assert told["edgerec_cpu_seconds_total"] == "1.25"


def test_the_text_is_what_it_always_was():
    """Every byte of it: alert rules and dashboards that others wrote read it."""
    told = exposition(replace(status_of(FULL), version="VERSION"))
    assert told == (CHECKOUT / "tests" / "service" / "full_metrics.prom").read_text()


def test_what_is_not_known_or_off_has_no_sample():
    told = samples(FACTS)
    assert not any('track="bot"' in name for name in told)
    assert not any("storage_free" in name or "last_published" in name for name in told)
    assert 'edgerec_track_peak_dbfs{track="user"}' not in told


def test_what_is_wrong_is_counted_by_code_and_track():
    facts = replace(FACTS, writing=writing("full"))
    told = samples(facts)
    assert told['edgerec_problems{code="device",track="user"}'] == "1"
    assert told['edgerec_problems{code="disk",track=""}'] == "1"
    assert told["edgerec_disk_failing"] == "1.0"


def test_a_kiosk_may_have_any_name():
    told = exposition(status_of(replace(FACTS, kiosk='a"b\\c\nd')))
    assert 'kiosk="a\\"b\\\\c\\nd"' in told


def test_the_file_is_there_at_once_replaced_and_gone_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, "PERIOD_S", 0.01)
    path, asked, enough = tmp_path / "edgerec.prom", [], threading.Event()

    def status():
        asked.append(path.read_text() if path.exists() else None)
        if len(asked) == 3:
            enough.set()
        return status_of(WELL)

    with MetricsFile(path, status):
        assert enough.wait(PATIENCE_S)
        assert path.stat().st_mode & 0o777 == 0o644
    assert asked[0] is None
    assert asked[2] == exposition(status_of(WELL))  # whole whenever somebody looks
    # The end is waited for as long as a period is, which is short here.
    wait_for(lambda: list(tmp_path.iterdir()) == [])


def test_a_file_that_can_not_be_written_is_told_once_until_it_can(tmp_path, caplog):
    folder = tmp_path / "absent"
    file = MetricsFile(folder / "edgerec.prom", lambda: status_of(WELL))
    file.write()
    file.write()
    assert len(caplog.messages) == 1
    assert "absent" in caplog.messages[0]
    folder.mkdir()
    file.write()
    assert (folder / "edgerec.prom").exists()
    assert len(caplog.messages) == 1


def test_rules_and_dashboard_speak_of_metrics_that_there_are():
    known = set(re.findall(r"edgerec_\w+", exposition(status_of(WELL))))
    facts = replace(FACTS, writing=writing("full"))
    known |= set(re.findall(r"edgerec_\w+", exposition(status_of(facts))))
    rules = yaml.safe_load((MONITORING / "edgerec-alerts.yaml").read_text())
    dashboard = json.loads((MONITORING / "edgerec-dashboard.json").read_text())
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    expressions += [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    assert len(expressions) > 15
    for expression in expressions:
        assert set(re.findall(r"edgerec_\w+", expression)) <= known, expression
