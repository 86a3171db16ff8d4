"""Every look at the file system goes through the disk layer, which says what failed on what."""

import ast
import re
from pathlib import Path

import edgerec

ROOT = Path(edgerec.__file__).parent

ANSWERS = re.compile(
    "exists|lexists|is_(file|dir|symlink|mount|socket|fifo|block_device|char_device)"
    "|is(file|dir|link|mount)|get(size|mtime)|samefile"
)
"""To these some errors are `False`, others an OSError; which, depends on the version of Python."""
STEPS = re.compile(
    "l?stat|statvfs|iterdir|listdir|scandir|walk|r?glob|resolve|realpath|readlink|access"
    "|read_bytes|write_(bytes|text)|touch|mkdir|makedirs|rmdir|rmtree|unlink|rename|link"
    "|chmod|chown|utime|(sym|hard)link_to|copy(2|file|mode|tree)|disk_usage"
)
OPENS = frozenset({"open", "os.open"})
ELSEWHERE = {
    "api/held_file.py": "a file that a program has been given",
    "capture/devices/": "/proc, /dev/snd, sockets of sound servers",
    "cli/": "what the person who calls a command names",
    "clock.py": "/sys",
    "config/": "the configuration, and programs and folders that it names",
    "doctor/": "a machine, and a temporary folder",
    "health/usage.py": "/proc",
    "service/control/": "the control socket and its folder",
    "service/hook_keeper.py": "/proc; it is a process of its own",
    "service/metrics.py": "the textfile",
    "service/reload.py": "the configuration",
    "store/archive/tree.py": "os.walk gives what fails to a function that raises a StoreError",
    "validation/bounded_json.py": "its callers expect a JsonError",
    "wire/": "traces, and /proc",
}
"""Modules and rooms that look at something other than the storage root, or have their own error."""


class Looks(ast.NodeVisitor):
    """Collects the lines of calls that touch the file system outside a `disk_step`."""

    def __init__(self):
        self.lines = []
        self._steps = 0

    def visit_FunctionDef(self, node):
        outside, self._steps = self._steps, 0  # it is called at another time
        self.generic_visit(node)
        self._steps = outside

    def visit_With(self, node):
        named = [ast.unparse(item.context_expr) for item in node.items]
        step = any(name.removeprefix("disk.").startswith("disk_step(") for name in named)
        self._steps += step
        self.generic_visit(node)
        self._steps -= step

    def visit_Call(self, node):
        called = ast.unparse(node.func)
        receiver, _, name = called.rpartition(".")
        opens = called in OPENS or (name == "open" and _has_mode(node))
        is_step = opens or (receiver and STEPS.fullmatch(name))
        if ANSWERS.fullmatch(name) or (is_step and not self._steps):
            # An os.DirEntry raises what it meets, within the step that lists its folder.
            self.lines += [node.lineno] if receiver != "entry" else []
        self.generic_visit(node)


def _has_mode(node):
    return any(isinstance(one, ast.Constant) and isinstance(one.value, str) for one in node.args)


def looks_in(text):
    looks = Looks()
    looks.visit(ast.parse(text))
    return looks.lines


def test_every_look_at_the_storage_root_goes_through_the_disk_layer():
    outside = {
        f"{module}:{line}"
        for path in ROOT.rglob("*.py")
        if (module := path.relative_to(ROOT).as_posix()) not in ("store/disk.py", "kernel.py")
        and not module.startswith(tuple(ELSEWHERE))
        for line in looks_in(path.read_text())
    }
    assert outside == set()


def test_each_exception_is_one():
    for module in ELSEWHERE:
        place = ROOT / module
        files = place.rglob("*.py") if place.is_dir() else [place]
        assert any(looks_in(path.read_text()) for path in files), module


def test_it_sees_what_it_is_to_see():
    assert looks_in("path.stat()") == looks_in("os.scandir('x')") == looks_in("open('x')") == [1]
    assert looks_in("path.open('rb')") == looks_in("os.path.exists('x')") == [1]
    assert looks_in("with disk_step('a', p):\n path.stat()\n path.exists()") == [3]
    assert looks_in("with disk_step('a', p):\n def later():\n  path.stat()") == [3]
    assert looks_in("gate.open()") == looks_in("kernel.read_text(p)") == []
