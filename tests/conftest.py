"""What tests of several modules ask for."""

import contextlib
import signal
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

from edgerec.audio import TRACKS
from edgerec.capture.devices import sound_server
from edgerec.cli import process
from edgerec.config import ConfigError, load_config
from edgerec.service.control import client
from edgerec.store.root import StorageRoot
from tests.rigs import deaths
from tests.rigs.fake_child import Rig
from tests.rigs.fakes import S, device
from tests.rigs.figures import Figures
from tests.rigs.recorder_rig import EagerSource, Running
from tests.rigs.recording_program import Program
from tests.rigs.waiting import PATIENCE_S
from tests.rigs.witness import Witness

pytest_plugins = ["tests.closing_lines", "tests.sampling", "pytester"]

# A machine that is busy with something else is slow, and no test is about that. The gate tries the
# same examples each time: what others find is a finding, but not of the commit that is tested.
_ANY_MACHINE = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("gate", derandomize=True, **_ANY_MACHINE)
settings.register_profile("search", derandomize=False, database=None, **_ANY_MACHINE)
settings.load_profile("gate")


@pytest.fixture(autouse=True)
def _rigs_live(monkeypatch):
    """Fail a test whose rig has died, under the name of the thread or process."""
    deaths.forget_all()
    monkeypatch.setattr(threading, "excepthook", deaths.note_thread)
    yield
    deaths.check()


@pytest.fixture(autouse=True)
def _other_processes_are_waited_for(request, monkeypatch):
    """Let what edgerec asks of other processes take as long as a busy machine needs.

    These limits are of a service on a machine of its own; what happens at their end is tested where
    they are set to next to nothing.
    """
    if request.node.get_closest_marker("real") is None:
        monkeypatch.setattr(client, "PATIENCE_S", PATIENCE_S)
        monkeypatch.setattr(sound_server, "SERVER_TIMEOUT_S", PATIENCE_S)


@pytest.fixture(scope="session")
def witness(tmp_path_factory):
    """The machine's witness: how late it was, for tests in real time."""
    witness = Witness(tmp_path_factory.mktemp("witness") / "records")
    yield witness
    witness.close()


@pytest.fixture
def figures(record_property, witness, request):
    """Take note of what is measured; see `Figures`."""
    are_held = request.config.getoption("hold_figures")
    return Figures(record_property, witness, are_held=are_held)


@pytest.fixture
def handlers_restored():
    """What `Interruption` takes is given back."""
    before = {number: signal.getsignal(number) for number in process.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def root(tmp_path):
    """A storage root that nobody else holds."""
    with StorageRoot(tmp_path / "root") as root:
        yield root


@pytest.fixture
def memory_path():
    """Hundreds of recordings made at once need no real disk: a folder in memory."""
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def socket_path(tmp_path):
    """Where a control socket may be made."""
    return tmp_path / "control.sock"


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Make programs that record; they are closed at the end."""
    programs = []

    def make(**how):
        programs.append(Program(tmp_path / "root", monkeypatch, **how))
        return programs[-1]

    yield make
    for one in programs:
        one.clock.until_ns += 60 * S
        one.recorder.close()


@pytest.fixture
def child(tmp_path):
    """A source whose child does what the test says."""
    with Rig(tmp_path) as rig:
        yield rig


@pytest.fixture
def sources():
    """Sources for a recorder, see `handed`; a test may put in others."""
    return {track: EagerSource(device(track)) for track in TRACKS}


@pytest.fixture
def open_device(sources):
    """What opens the devices of `running`: those of `sources`, or what a test says."""
    return lambda track, now_ns: sources[track]


@pytest.fixture
def running(tmp_path, open_device):
    """Make recorders that are ended afterwards, whatever a test has found."""
    with contextlib.ExitStack() as stack:
        yield lambda root="root", **recording: stack.enter_context(
            Running(tmp_path / root, open_device, **recording)
        )


@pytest.fixture
def load_text(tmp_path):
    """Load a text as a configuration file; bytes, which may be cut short, as they are."""

    def load_text(text, *, records=False):
        file = tmp_path / "kiosk.yaml"
        file.write_bytes(text if isinstance(text, bytes) else f"{text}\n".encode())
        return load_config(file, records=records)

    return load_text


@pytest.fixture
def problems_of(load_text):
    """Load a text that must be refused, and return its problems as lines."""

    def problems_of(text, *, records=False):
        with pytest.raises(ConfigError) as caught:
            load_text(text, records=records)
        return [str(problem) for problem in caught.value.problems]

    return problems_of
