import sys
import wave
from importlib import import_module

import pytest

from tests import CHECKOUT

SCRIPTS = CHECKOUT / "scripts" / "benchmark"
sys.path.insert(0, str(SCRIPTS))  # it is run as a folder, and so are its imports
contenders, inputs, measure, wakeup = map(
    import_module, ("contenders", "inputs", "measure", "wakeup")
)
sys.path.remove(str(SCRIPTS))

WRITE_A_SECOND = """
import sys, wave
with wave.open(sys.argv[1] + "/a.wav", "wb") as file:
    file.setparams((1, 2, 16000, 0, "NONE", ""))
    file.writeframes(bytes(32000))
"""


def run(tmp_path, program):
    return measure.measure([sys.executable, "-c", program, str(tmp_path)], tmp_path)


def test_a_run_costs_what_its_program_used_and_counts_what_it_wrote(tmp_path):
    idle = run(tmp_path, WRITE_A_SECOND)
    large = run(tmp_path, WRITE_A_SECOND + "full = b'x' * 200_000_000\n")
    busy = run(tmp_path, WRITE_A_SECOND + "import time\nwhile time.process_time() < 0.5: pass\n")
    assert (idle.written_s, large.written_s) == (1.0, 1.0)
    assert large.peak_mib > 200_000_000 / 2**20
    assert busy.cpu_s > 0.5 > idle.cpu_s


def test_what_a_program_started_and_waited_for_counts_too(tmp_path):
    child = "import time\nwhile time.process_time() < 0.5: pass\n"
    run_child = f"import subprocess\nsubprocess.run([sys.executable, '-c', {child!r}])\n"
    assert run(tmp_path, WRITE_A_SECOND + run_child).cpu_s > 0.5


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["no-such-program"], "can't start no-such-program"),
        ([sys.executable, "-c", "raise ValueError('too loud')"], "1: ValueError: too loud"),
        ([sys.executable, "-c", ""], "wrote no WAV file"),
    ],
)
def test_a_contender_that_did_not_do_its_work_is_out_with_a_reason(tmp_path, command, reason):
    with pytest.raises(measure.RunError, match=reason):
        measure.measure(command, tmp_path)


def test_the_inputs_are_exact_kept_and_used_by_the_floor(tmp_path):
    made = inputs.make_inputs(tmp_path, minutes=1)
    for path in made:
        with wave.open(str(path), "rb") as file:
            assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
            assert (file.getframerate(), file.getnframes()) == (48_000, 60 * 48_000)
    stamps = [path.stat().st_mtime_ns for path in made]
    assert inputs.make_inputs(tmp_path, minutes=1) == made
    assert [path.stat().st_mtime_ns for path in made] == stamps
    out = tmp_path / "out"
    out.mkdir()
    cost = measure.measure(contenders.FLOOR.command(made, out), out)
    assert cost.written_s == 60.0


def test_a_wakeup_costs_what_both_ends_of_the_pipe_use_and_not_what_they_wait(monkeypatch):
    monkeypatch.setattr(wakeup, "MESSAGES", 20)
    assert 0 < wakeup.wakeup_us() < 1e6 * wakeup.PAUSE_S / 2
