import select

from edgerec.capture.devices.hotplug import CardWatch
from tests.rigs.waiting import PATIENCE_S


def test_a_device_file_that_comes_is_told_once(tmp_path):
    with CardWatch(tmp_path) as cards:
        assert not cards.take()
        (tmp_path / "pcmC1D0c").touch()
        assert select.select([cards.fileno()], [], [], PATIENCE_S)[0]
        assert cards.take()
        assert not cards.take()


def test_a_device_file_that_is_given_to_another_group_is_told(tmp_path):
    file = tmp_path / "pcmC1D0c"
    file.touch()
    with CardWatch(tmp_path) as cards:
        file.chmod(0o600)
        assert select.select([cards.fileno()], [], [], PATIENCE_S)[0]
        assert cards.take()


def test_where_there_is_no_alsa_there_is_nothing_to_watch(tmp_path):
    with CardWatch(tmp_path / "absent") as cards:
        assert cards.fileno() is None
        assert not cards.take()
