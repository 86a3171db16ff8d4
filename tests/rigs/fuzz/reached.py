"""Which lines of some modules were run while something else was done."""

import sys
import threading
from contextlib import contextmanager


class Reached:
    """Lines of modules that were run inside `watching`."""

    def __init__(self, *modules):
        self._seen = {module.__file__: set() for module in modules}
        self._all = {module.__file__: _lines(module.__file__) for module in modules}

    @contextmanager
    def watching(self):
        before = sys.gettrace()
        sys.settrace(self._enter)
        threading.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(before)
            threading.settrace(None)

    def share(self):
        """Return the part of all their lines in functions that was run."""
        held = sum(len(lines) for lines in self._all.values())
        seen = sum(len(self._all[file] & lines) for file, lines in self._seen.items())
        return seen / held

    def missed(self):
        """Return the lines that were not, by file."""
        return {file: sorted(lines - self._seen[file]) for file, lines in self._all.items()}

    def _enter(self, frame, _event, _arg):
        seen = self._seen.get(frame.f_code.co_filename)
        if seen is None:
            return None

        def note(frame, event, _arg):
            if event == "line":
                seen.add(frame.f_lineno)
            return note

        return note


def _lines(file):
    """The lines of a module's functions; what is run when it is imported counts for nothing."""
    with open(file) as text:  # noqa: PTH123 -- it is a name as code objects have it
        module = compile(text.read(), file, "exec")
    return set().union(*map(_own, _functions(module)))


def _functions(code):
    for inner in code.co_consts:
        if hasattr(inner, "co_lines"):
            if (
                inner.co_flags & 0x2
            ):  # CO_NEWLOCALS: no class body (inspect, "Code Objects Bit Flags")
                yield inner
            yield from _functions(inner)


def _own(code):
    first = code.co_firstlineno
    return {line for _, _, line in code.co_lines() if line is not None and line != first}
