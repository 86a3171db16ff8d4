"""The project's prose follows docs/style.md: plain words, and module docstrings that state.

Checked are docstrings and comments of the code, comments of scripts and of the example
configuration, and all documents. Names in backquotes are not prose.
"""

import ast
import functools
import io
import re
import tokenize

import pytest

from tests import CHECKOUT

PACKAGE = sorted((CHECKOUT / "edgerec").rglob("*.py"))
SCRIPTS = sorted(
    path
    for path in (CHECKOUT / "scripts").rglob("*")
    if path.is_file() and path.suffix in ("", ".py", ".sh")
)
DOCUMENTS = sorted(
    [CHECKOUT / "README.md", CHECKOUT / "CHANGELOG.md", *(CHECKOUT / "docs").rglob("*.md")]
)
PROSE = [*PACKAGE, *SCRIPTS, CHECKOUT / "config" / "edgerec.yaml", *DOCUMENTS]
DECISIONS = CHECKOUT / "docs" / "decisions"

QUESTION = re.compile(
    r"(what|which|who|whose|where|when|how|why|is|are|do|does|did|may|can|has|would)\b", re.I
)

# The table of docs/style.md has a word to use instead of each.
AVOIDED = {
    "anew": r"\banew\b",
    "at the most": r"\bat the most\b",
    "besides": r"\bbesides\b",
    "dear": r"\bdear\b",
    "for ever": r"\bfor ever\b",
    "get on": r"\bg(?:et|ets|ot) on\b",
    "goes on": r"\bgo(?:es)? on\b",
    "is no X": r"(?<!\bthere )\bis no (?!longer\b|more\b)",
    "is told": r"\b(?:is|are|was|were) told\b",
    "let go": r"\blets? go\b",
    "mend": r"\bmend(?:s|ed)?\b",
    "of which": r"\bof which\b",
    "so many": r"\bso many\b",
    "tells of, told of": r"\b(?:tells? of|told of)\b",
    "the very": r"\bthe very (?!first\b)",
    "vouch": r"\bvouch",
    "whoever": r"\bwhoever\b",
}


@pytest.mark.parametrize("module", PACKAGE, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_a_module_s_docstring_states_what_the_module_is_and_asks_nothing(module):
    summary = ast.get_docstring(ast.parse(module.read_text())).split("\n\n")[0]
    assert "?" not in summary
    assert not QUESTION.match(summary), summary


@pytest.mark.parametrize("name", AVOIDED)
def test_no_prose_has_an_avoided_word(name):
    word = re.compile(AVOIDED[name], re.I)
    found = [
        f"{path.relative_to(CHECKOUT)}: {text[max(0, hit.start() - 40) : hit.end() + 40]}"
        for path in PROSE
        if path != CHECKOUT / "docs" / "style.md"  # which lists them
        for text in [prose_of(path)]
        for hit in word.finditer(text)
    ]
    assert not found, "\n".join(found)


def test_style_lists_every_avoided_word():
    text = (CHECKOUT / "docs" / "style.md").read_text()
    assert {name for name in AVOIDED if f"| {name} |" in text} == set(AVOIDED)


def test_every_decision_is_in_the_index_under_its_title():
    index = (DECISIONS / "README.md").read_text()
    for record in DECISIONS.glob("[0-9]*.md"):
        number, _, title = record.read_text().split("\n")[0].removeprefix("# ").partition(": ")
        assert record.name.startswith(number), record.name
        assert f"| [{number}]({record.name}) | {title} | " in index, record.name


@functools.cache
def prose_of(path):
    """Return a file's prose as one line, without names in backquotes."""
    text = path.read_text()
    if path.suffix == ".md":
        text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    elif path.suffix == ".py":
        text = "\n".join(
            token.string
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type == tokenize.COMMENT
            or (token.type == tokenize.STRING and token.string.startswith(('"""', 'r"""')))
        )
    else:
        text = "\n".join(line for line in text.splitlines() if line.lstrip().startswith("#"))
    without_marks = re.sub(r"(?m)^\s*#+ ?", "", text)
    return " ".join(re.sub(r"`[^`]*`", "", without_marks).split())
