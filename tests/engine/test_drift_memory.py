import json
import stat

import pytest

from edgerec.engine.housekeeping import FILE, SAVE_NS, WORTH_SAVING_PPM, DriftMemory
from tests.rigs.fakes import S
from tests.rigs.recorder_rig import begun
from tests.rigs.waiting import wait_for


def test_what_one_run_measured_the_next_one_knows(tmp_path):
    path = tmp_path / "drift.json"
    first = DriftMemory(path)
    assert first.drift_ppm == {}
    first.drift_ppm["pulse:mic"] = 87.5
    first.save()
    assert DriftMemory(path).drift_ppm == {"pulse:mic": 87.5}
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0


def test_it_is_saved_only_if_something_is_new(tmp_path):
    path = tmp_path / "drift.json"
    memory = DriftMemory(path)
    memory.drift_ppm["mic"] = 10.0
    memory.save()
    written = path.stat().st_ino
    memory.drift_ppm["mic"] = 10.0 + WORTH_SAVING_PPM / 2
    memory.save()
    assert path.stat().st_ino == written
    memory.drift_ppm["mic"] = 10.0 + WORTH_SAVING_PPM * 2
    memory.save()
    assert DriftMemory(path).drift_ppm["mic"] == 10.0 + WORTH_SAVING_PPM * 2


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", '{"mic": "fast"}', '{"mic": true}', '{"mic": 1e9}', '{"mic": NaN}']
)
def test_a_malformed_memory_is_told_of_and_does_not_keep_the_recorder_from_starting(
    tmp_path, caplog, content
):
    path = tmp_path / "drift.json"
    path.write_text(content)
    assert DriftMemory(path).drift_ppm == {}
    assert str(path) in caplog.text


def test_a_disk_that_does_not_take_it_is_told_of_and_costs_nothing_else(tmp_path, caplog):
    memory = DriftMemory(tmp_path / "missing" / "drift.json")
    memory.drift_ppm["mic"] = 1.0
    memory.save()
    assert "drift can't be saved" in caplog.text


def test_the_file_is_readable_by_people(tmp_path):
    memory = DriftMemory(tmp_path / "drift.json")
    memory.drift_ppm["Mikrofon für vorn"] = -3.25
    memory.save()
    assert json.loads((tmp_path / "drift.json").read_text()) == {"Mikrofon für vorn": -3.25}


def test_a_power_cut_costs_only_the_drift_of_the_last_ten_minutes(running):
    rig = running()
    begun(rig)
    rig.let_pass(SAVE_NS / S)
    remembered = rig.root / ".state" / FILE
    wait_for(remembered.exists)  # while it goes on recording
    assert DriftMemory(remembered).drift_ppm.keys() == {"simulated:user", "simulated:bot"}
