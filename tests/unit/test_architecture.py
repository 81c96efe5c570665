"""What ARCHITECTURE.md promises of the code's shape: no class too large to be read, few private words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_LINES, MOST_FIELDS, MOST_WORDS = 400, 25, 25
EXCUSE = "Large because: "
"""What the docstring of a larger class says, and then why."""

TOO_LARGE = {}
"""Classes that are still to be split. One that is small enough, or gone, must leave this list."""


@dataclass(frozen=True)
class Size:
    lines: int
    fields: int
    excuse: str

    @property
    def too_large(self) -> bool:
        return self.lines > MOST_LINES or self.fields > MOST_FIELDS

    def __str__(self) -> str:
        return f"{self.lines} lines, {self.fields} fields"


def classes(module: str, source: str) -> Iterator[tuple[str, Size]]:
    """Every class: a field is what a method assigns to `self`, or what the class body annotates."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ClassDef):
            continue
        fields = {
            found.attr
            for found in ast.walk(node)
            if isinstance(found, ast.Attribute) and isinstance(found.ctx, ast.Store)
            if isinstance(found.value, ast.Name) and found.value.id == "self"
        }
        fields |= {
            found.target.id
            for found in node.body
            if isinstance(found, ast.AnnAssign) and isinstance(found.target, ast.Name)
        }
        excuse = " ".join((ast.get_docstring(node) or "").partition(EXCUSE)[2].split())
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        yield f"{module}.{node.name}", Size(lines, len(fields), excuse)


CLASSES = {
    name: size
    for folder in ("neurobus", "nodes")
    for path in sorted((ROOT / folder).rglob("*.py"))
    for name, size in classes(".".join(path.relative_to(ROOT).with_suffix("").parts), path.read_text())
}


def test_a_large_class_says_why() -> None:
    large = {name: size for name, size in CLASSES.items() if size.too_large and not size.excuse}
    found = [f"{name} has {size}" for name, size in large.items() if name not in TOO_LARGE]
    assert not found, (
        f"more than {MOST_LINES} or {MOST_FIELDS}: split it, or let its docstring say '{EXCUSE}…'"
    )


def test_nobody_excuses_a_small_class() -> None:
    for name, size in CLASSES.items():
        if size.excuse:
            assert size.too_large, f"{name} has {size}: the words '{EXCUSE}…' can go"
            assert len(size.excuse) > 20, name


def test_every_exception_is_needed() -> None:
    for name in TOO_LARGE:
        size = CLASSES.get(name)
        assert size and size.too_large and not size.excuse, f"take {name} out of TOO_LARGE ({size or 'gone'})"


def test_what_a_class_has_is_counted() -> None:
    source = """
class A:
    '''Words. Large because: it is
    a table.'''
    x: int
    y: int = 0
    NAME = "no field"

    def f(self):
        self.x, self.z = 1, 2
        self.z += 1
        other.w = 3
        return self.v
"""
    ((name, size),) = classes("m", source)
    assert (name, size) == ("m.A", Size(12, 3, "it is a table."))
    assert Size(401, 0, "").too_large and Size(0, 26, "").too_large and not Size(400, 25, "").too_large


# -- words ----------------------------------------------------------------------------------------------


def glossary(text: str) -> list[tuple[str, str]]:
    """The rows of the table under `## Glossary`."""
    section = re.split(r"^## ", text.partition("\n## Glossary\n")[2], flags=re.M)[0]
    rows = re.findall(r"^\| \*?([^|]+?)\*? \| (.+?) \|$", section, re.M)
    return [row for row in rows if row[0] != "---" and row[0] != "word"]


WORDS = glossary((ROOT / "ARCHITECTURE.md").read_text())
CODE = "\n".join(
    path.read_text().lower() for folder in ("neurobus", "nodes") for path in (ROOT / folder).rglob("*.py")
)


def test_the_glossary_is_short_and_in_order() -> None:
    words = [word for word, _ in WORDS]
    assert 10 < len(words) <= MOST_WORDS
    assert words == sorted(set(words))


@pytest.mark.parametrize(("word", "meaning"), WORDS)
def test_a_word_of_the_glossary_is_used_and_defined_in_a_sentence(word: str, meaning: str) -> None:
    for part in word.split(", "):
        assert re.search(rf"\b{re.escape(part.lower())}", CODE), f"nobody says '{part}'"
    assert meaning.endswith(".") and len(meaning) > 20


# -- chapters -------------------------------------------------------------------------------------------

CHAPTERS = re.findall(r"^\| (a.+?) \| \d+.*? \| \[\w+\]\((.+?)#(.+?)\) \|$",
                      (ROOT / "ARCHITECTURE.md").read_text(), re.M)  # fmt: skip


@pytest.mark.parametrize(("what", "file", "anchor"), CHAPTERS)
def test_a_chapter_on_how_to_add_it_is_there_and_its_files_are(what: str, file: str, anchor: str) -> None:
    text = (ROOT / file).read_text()
    headings = re.findall(r"^## (.+)$", text, re.M)
    found = [heading for heading in headings if heading.lower().replace(" ", "-") == anchor]
    assert found == [f"To add {what.split(' of the ')[0].split(' on the ')[0].split(' with ')[0]}"]
    chapter = re.split(r"^## ", text.partition(f"## {found[0]}\n")[2], flags=re.M)[0]
    assert re.search(r"Touches (\d+|the model's file)", chapter)
    for path in re.findall(r"`((?:tests|nodes|neurobus|firmware)/[\w/]+\.\w+)`", chapter):
        assert (ROOT / path).exists() or path == "nodes/NAME.py", path


def test_there_are_chapters_for_all_that_grows() -> None:
    assert len(CHAPTERS) == 11
