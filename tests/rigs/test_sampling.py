"""A part of the tests is a part of them: all parts together are all tests."""

import pytest

TESTS = 40


def names(pytester, *options):
    pytester.makepyfile(
        f"import pytest\n@pytest.mark.parametrize('n', range({TESTS}))\ndef test_it(n): pass"
    )
    result = pytester.runpytest("-p", "tests.sampling", "--collect-only", "-q", *options)
    return [line for line in result.outlines if line.startswith("test_")]


def test_every_test_is_in_one_part(pytester):
    parts = [names(pytester, "--part", f"{part}/4") for part in range(4)]
    assert all(parts)
    assert sorted(name for part in parts for name in part) == sorted(names(pytester))
    assert len(names(pytester)) == TESTS


@pytest.mark.parametrize("part", ["4/4", "-1/4", "1", "a/b"])
def test_a_part_that_there_is_not_is_refused(pytester, part):
    assert names(pytester, f"--part={part}") == []
