"""What recordings that never ended leave behind."""

from dataclasses import replace

from edgerec.store.records.layout import Layout
from tests.rigs.made_recordings import RATE, REPORTS, recording, stamp_of

NOW = stamp_of(10_000)
NEXT_BOOT = replace(NOW, boot_id="the next boot")
STEREO = Layout(RATE, 2)
TRACKS_TOO = Layout(RATE, 2, separate_tracks=True)


def crash(root, parts, *, layout=STEREO, synced=0, cutting=None):
    """Record without ever ending, the first `synced` spans durably; return what was published."""
    published = []
    session = recording(root, published, layout=layout, cutting=cutting)
    for count, span in enumerate(parts, start=1):
        session.write(span, REPORTS)
        if count == synced:
            session.sync()
    return published


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())
