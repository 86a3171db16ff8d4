"""How long is waited in real time: until something is so, and never just for a while."""

import time

PATIENCE_S = 20.0  # for what takes a moment, on a busy machine
LOOK_S = 0.001  # between two looks


def wait_for(is_so, *, within_s=PATIENCE_S, look_s=LOOK_S, why=lambda: "it did not come about"):
    """Wait for what another thread or process will bring about; `why` tells of it in vain."""
    deadline_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline_s, why()
        time.sleep(look_s)
