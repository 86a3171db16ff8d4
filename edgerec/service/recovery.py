"""What does a start say of the crash before it?"""

from __future__ import annotations

import logging
from collections.abc import Callable

from edgerec.audio import Stamp
from edgerec.store.naming import utc_text
from edgerec.store.publish import Published
from edgerec.store.recover import recover
from edgerec.store.root import StorageRoot

log = logging.getLogger(__name__)


def recover_and_tell(
    root: StorageRoot, now: Stamp, on_published: Callable[[Published], None]
) -> None:
    """Recover what is in the work folder, and log what was lost.

    Raises
    ------
    StoreError
        The disk fails; do it again.
    """
    recovery = recover(root, now)
    if recovery.cut_short is not None:
        log.warning(
            "the session before was cut short, what came behind its end is lost session=%s end=%s",
            recovery.cut_short.session,
            utc_text(recovery.cut_short.last.utc_ns),
        )
    for path in recovery.completed:
        log.info("recovered file=%s", path.name)
    for path, reason in recovery.quarantined:
        log.error("beyond repair, kept in quarantine file=%s why=%r", path.name, reason)
    for published in recovery.published:
        on_published(published)
