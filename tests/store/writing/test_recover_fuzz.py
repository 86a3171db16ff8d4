"""Leftovers that say anything at all, their checksums right: each costs itself and nothing else.

`scripts/campaign properties --number 1000 -k anything` tries examples that nobody has chosen.
"""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.store.disk import StoreError
from edgerec.store.publish import place
from edgerec.store.records.layout import Layout
from edgerec.store.records.naming import FORMS
from edgerec.store.root import StorageRoot
from edgerec.store.writing.recover import recover
from edgerec.store.writing.rotation import Cutting
from tests.rigs.damaged_files import damage_journal, damage_json, read_journal_lines
from tests.rigs.leftovers import NEXT_BOOT, NOW, STEREO, TRACKS_TOO, crash, left_in
from tests.rigs.made_recordings import FOREVER, RATE, REPORTS, quiet_span, recording

AUDIO = {form.suffix for form in FORMS.values()}
FLAC = Layout(RATE, 2, format="flac")


def audio_files(*folders):
    return [path for folder in folders for path in folder.rglob("*") if path.suffix in AUDIO]


def assert_a_session_can_be_recorded(root):
    published = []
    session = recording(root, published, session=root.open_session("k1"))
    session.write(quiet_span(0, 20), REPORTS)
    session.finish("stop")
    assert [one.what for one in published] == ["chunk", "session"]


def interrupt_publishing(monkeypatch, nth):
    """Fail before the nth file gets its last name."""
    calls = iter(range(nth))

    def fail(audio, final):
        if next(calls, None) is None:
            raise StoreError("moving", final, "interrupted")
        place(audio, final)

    monkeypatch.setattr("edgerec.store.publish.place", fail)


@settings(max_examples=100)
@given(
    random=st.randoms(use_true_random=False),
    layout=st.sampled_from([STEREO, TRACKS_TOO, FLAC]),
    now=st.sampled_from([NOW, NEXT_BOOT]),
    closed=st.booleans(),
    times=st.integers(1, 4),
)
def test_a_journal_that_says_anything_costs_no_audio_and_no_session(
    tmp_path_factory, random, layout, now, closed, times
):
    with StorageRoot(tmp_path_factory.mktemp("root")) as root:
        parts = [quiet_span(0, 30), quiet_span(30, 10, 1), quiet_span(40, 9)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "edgerec.store.writing.recording.Recording.publish_due", lambda session: None
            )
            cutting = Cutting(30, FOREVER) if closed else None
            crash(root, parts, layout=layout, synced=3, cutting=cutting)
        before = len(audio_files(root.work))
        for journal in sorted(root.work.glob("*.journal")):
            damage_journal(journal, random, times)
        said = [read_journal_lines(path) for path in root.work.glob("*.journal")]
        unreliable = "durable_frames" in str(said) or now is NEXT_BOOT
        done = recover(root, now)
        if not unreliable and layout is not FLAC:  # beside which there is a WAV in progress
            assert len(audio_files(root.ready, root.quarantine)) == before
        assert done.left == []
        assert left_in(root.work) == []
        assert_a_session_can_be_recorded(root)


@settings(max_examples=60)
@given(
    random=st.randoms(use_true_random=False),
    nth=st.integers(0, 3),
    times=st.integers(1, 4),
    which=st.sampled_from(["sidecars", "totals", "counter", "all"]),
)
def test_sidecars_and_states_that_say_anything_cost_no_audio_and_no_session(
    tmp_path_factory, random, nth, times, which
):
    with StorageRoot(tmp_path_factory.mktemp("root")) as root:
        root.open_session("k1")
        with pytest.MonkeyPatch.context() as patch:
            interrupt_publishing(patch, nth)
            with pytest.raises(StoreError):
                crash(
                    root,
                    [quiet_span(start, 40) for start in (0, 40)],
                    layout=TRACKS_TOO,
                    cutting=Cutting(40, FOREVER),
                )
        audio = len(audio_files(root.work, root.ready))
        files = {
            "sidecars": sorted(root.ready.rglob("*.json")),
            "totals": sorted(root.state.glob("open-session*")),
            "counter": [root.state / "session.json"],
        }
        for name, paths in files.items():
            for path in paths if which in (name, "all") else ():
                damage_json(path, random, times)
        done = recover(root, NOW)
        assert done.left == []
        assert left_in(root.work) == []
        assert len(audio_files(root.ready, root.quarantine)) == audio
        assert_a_session_can_be_recorded(root)
        assert json.loads((root.state / "session.json").read_text())["number"] >= 1
