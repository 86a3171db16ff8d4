"""Log records as the journal gets them, and when it gets them at all."""

import logging
import os
import subprocess
import sys

import pytest

from edgerec.cli.logs import JournalHandler, journal_fields, stderr_is_the_journal
from tests.rigs.waiting import PATIENCE_S


def record(message, *arguments, level=logging.INFO):
    return logging.LogRecord("edgerec.x", level, __file__, 0, message, arguments, None)


def test_every_key_of_a_line_is_a_field():
    fields = journal_fields(record("track is silent track=%s why=%r end_s=%d", "bot", "a b", 2))
    assert (fields["TRACK"], fields["WHY"], fields["END_S"]) == ("bot", "a b", "2")
    assert fields["SYSLOG_IDENTIFIER"] == "edgerec"
    assert fields["LOGGER"] == "edgerec.x"


def test_what_a_quoted_value_holds_is_no_field():
    fields = journal_fields(record("it fails why=%r", "reading x: priority=9 in it's file"))
    assert fields["WHY"] == "reading x: priority=9 in it's file"
    assert fields["PRIORITY"] == 6


def test_no_line_can_take_the_place_of_the_journal_s_own_fields():
    fields = journal_fields(record("odd message=no priority=0 logger=x thread_name=y"))
    assert "MESSAGE" not in fields
    assert fields["PRIORITY"] == 6
    assert fields["LOGGER"] == "edgerec.x"


@pytest.mark.parametrize(
    ("level", "priority"),
    [("DEBUG", 7), ("INFO", 6), ("WARNING", 4), ("ERROR", 3), ("CRITICAL", 2)],
)
def test_levels_are_those_of_syslog(level, priority):
    assert journal_fields(record("x", level=getattr(logging, level)))["PRIORITY"] == priority


def test_the_message_is_the_whole_line():
    sent = []
    handler = JournalHandler(lambda message, **fields: sent.append((message, fields)))
    handler.emit(record("published file=%s", "x.wav"))
    [(message, fields)] = sent
    assert message == "published file=x.wav"
    assert fields["FILE"] == "x.wav"


def test_a_journal_that_refuses_a_record_ends_nothing(capsys):
    def refuse(message, **fields):
        raise OSError("no journal")

    JournalHandler(refuse).emit(record("x"))
    assert "no journal" in capsys.readouterr().err


def test_stderr_is_the_journal_only_if_systemd_says_so_of_this_very_file(monkeypatch):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    assert not stderr_is_the_journal()
    error = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{error.st_dev}:{error.st_ino}")
    assert stderr_is_the_journal()
    monkeypatch.setenv("JOURNAL_STREAM", f"{error.st_dev}:{error.st_ino + 1}")
    assert not stderr_is_the_journal()


SENDS = """
import logging, os
error = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{error.st_dev}:{error.st_ino}"
from systemd import journal
journal.send = lambda message, **fields: print(message, fields["N"], flush=True)
from edgerec.cli.logs import log_to_journal
log_to_journal()
logging.getLogger("edgerec.x").info("line n=%d", 7)
"""


def test_under_systemd_lines_go_to_the_journal_and_not_to_stderr_too():
    done = subprocess.run(
        [sys.executable, "-c", SENDS],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("line n=7 7\n", "")
