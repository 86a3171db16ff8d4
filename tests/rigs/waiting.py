"""How long is waited in real time: until something is so, and never just for a while."""

import time

from tests.rigs import deaths

PATIENCE_S = 120.0  # no test is about how fast a busy machine is
LOOK_S = 0.001  # between two looks


def wait_for(is_so, *, within_s=PATIENCE_S, look_s=LOOK_S, why=lambda: "it did not come about"):
    """Wait for what another thread or process will bring about; `why` tells of it in vain.

    Fails at once if a thread or process of a rig has died.
    """
    deadline_s = time.monotonic() + within_s
    while not (found := is_so()):
        deaths.check()
        assert time.monotonic() < deadline_s, why()
        time.sleep(look_s)
    return found
