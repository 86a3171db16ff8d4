"""A public name has one meaning in the tree: a reader who searches for it finds one thing."""

import ast
from collections import defaultdict

from tests import CHECKOUT

SEVERAL = {
    "HELP": "each command's",
    "Gap": "a gap on the timeline, and what a program's handler gets of it",
    "Samples": "arrays of numbers, each room's own type",
    "add_arguments": "each command's",
    "main": "each program's",
    "run": "each command's",
}


def test_a_class_function_or_type_has_a_name_of_its_own():
    defined = defaultdict(set)
    package = CHECKOUT / "edgerec"
    for path in package.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            for name in names_of(node):
                defined[name].add(path.relative_to(package).as_posix())
    several = {name: sorted(paths) for name, paths in defined.items() if len(paths) > 1}
    assert set(several) == set(SEVERAL), several


def names_of(node):
    """Yield what a statement of a module defines for others; constants belong to their module."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        names = [node.name]
    elif isinstance(node, ast.Assign):  # a type's other name
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
    else:
        names = []
    yield from (name for name in names if not name.startswith("_") and name != "log")
