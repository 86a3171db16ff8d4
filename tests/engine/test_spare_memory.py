import gc
import weakref

from edgerec.engine.housekeeping import COLLECT_NS, SPARE_MEMORY, Housekeeping
from tests.rigs.fakes import S
from tests.rigs.recorder_rig import begun
from tests.rigs.waiting import wait_for


class Ring:
    """Refers to itself, so that no reference count ever ends it."""

    def __init__(self):
        self.itself = self


def test_what_refers_to_itself_is_given_back_every_ten_minutes():
    spare = Housekeeping([SPARE_MEMORY])
    gc.disable()  # by itself it would come sooner or later
    try:
        spare.step(0)
        for round_ns in (COLLECT_NS, 2 * COLLECT_NS):
            alive = weakref.ref(Ring())
            spare.step(round_ns - 1)
            assert alive() is not None
            spare.step(round_ns)
            assert alive() is None
    finally:
        gc.enable()


def test_a_recorder_gives_it_back_while_it_records(running):
    gc.disable()
    try:
        rig = running()
        begun(rig)
        alive = weakref.ref(Ring())
        rig.let_pass(COLLECT_NS / S)
        wait_for(lambda: alive() is None)
    finally:
        gc.enable()
