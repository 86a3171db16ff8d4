import os
import subprocess
import sys

from edgerec.health.usage import RECENT_NS, RecentUsage, Usage, usage


def test_usage_counts_this_process_and_what_it_has_started():
    before = usage()
    assert before.processes >= 1
    assert before.pss_bytes is not None
    assert before.rss_bytes is not None
    assert 1_000_000 < before.pss_bytes <= before.rss_bytes
    command = [sys.executable, "-c", "print(flush=True); input()"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as child:
        assert child.stdout.readline() == b"\n"
        assert usage().processes == before.processes + 1
        assert usage().rss_bytes > before.rss_bytes
        child.stdin.write(b"\n")
    assert usage().processes == before.processes
    assert usage().cpu_seconds >= before.cpu_seconds


def fake_process(folder, pid, children="", name="name"):
    process = folder / str(pid)
    (process / "task" / str(pid)).mkdir(parents=True)
    (process / "task" / str(pid) / "children").write_text(children)
    (process / "smaps_rollup").write_text("Rss:  30 kB\nPss:  10 kB\nPss_Anon:  7 kB\n")
    ticks = " ".join(["0"] * 11 + [str(os.sysconf("SC_CLK_TCK"))] * 4)
    (process / "stat").write_text(f"{pid} ({name}) {ticks} 9 9\n")


def test_usage_adds_up_descendants_whatever_they_call_themselves(tmp_path):
    fake_process(tmp_path, os.getpid(), "7 ")
    fake_process(tmp_path, 7, "8 9", name="a) 1 (b")
    fake_process(tmp_path, 8)
    told = usage(tmp_path)  # 9 has ended meanwhile
    assert (told.pss_bytes, told.rss_bytes) == (3 * 10 * 1024, 3 * 30 * 1024)
    assert told.cpu_seconds == 3 * 4


def test_a_kernel_that_does_not_say_leaves_memory_unknown(tmp_path):
    fake_process(tmp_path, os.getpid())
    (tmp_path / str(os.getpid()) / "smaps_rollup").unlink()
    assert usage(tmp_path).pss_bytes is None
    assert usage(tmp_path).rss_bytes is None


def test_usage_is_measured_once_a_second_however_often_it_is_asked_for():
    numbers = iter(range(9))
    recent = RecentUsage(lambda: Usage(next(numbers), None, None, 0.0))
    times_ns = (0, RECENT_NS - 1, RECENT_NS, RECENT_NS + 5)
    assert [recent.at(now_ns).processes for now_ns in times_ns] == [0, 0, 1, 1]
