"""Terminals that cannot show all characters get stand-ins, whatever a verb writes."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from neurobus.cli import plain

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("written", "text", "cells"),
    [
        ("3 µs – 5 µs", "3 us - 5 us", "3 us - 5 us"),
        ("a … b", "a ... b", "a . b"),
        ("┌─┐", "+-+", "+-+"),
        ("Müller", "Muller", "Muller"),
        ("山 ok", "? ok", "? ok"),
    ],
)
def test_stand_ins(written: str, text: str, cells: str) -> None:
    assert written.encode("ascii", plain.TEXT) == text.encode()
    assert written.encode("ascii", plain.CELLS) == cells.encode()


def test_what_a_terminal_can_show_is_left_as_it_is() -> None:
    assert "3 µs – 5".encode("latin-1", plain.TEXT) == "3 µs - 5".encode("latin-1")


def test_a_stream_of_another_kind_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    plain.use_stand_ins()
    print("µ")


@pytest.mark.parametrize(
    ("environment", "utf8_mode", "asks"),
    [
        ({"LC_ALL": "C"}, True, True),
        ({"LANG": "POSIX"}, True, True),
        ({"LC_ALL": "", "LC_CTYPE": "C.UTF-8", "LANG": "C"}, True, False),
        ({}, True, False),
        ({"LC_ALL": "C", "PYTHONUTF8": "1"}, True, False),
        ({"LC_ALL": "C"}, False, False),
    ],
)
def test_a_locale_of_ascii_is_heeded(environment: dict[str, str], utf8_mode: bool, asks: bool) -> None:
    assert plain.asks_for_ascii(environment, utf8_mode) == asks


def test_no_character_of_the_command_line_lacks_a_stand_in() -> None:
    sources = [path.read_text() for path in (ROOT / "neurobus").rglob("*.py") if path.name != "plain.py"]
    unusual = set(re.findall(r"[^\x00-\x7f]", "".join(sources)))
    assert len(unusual) > 10
    assert {character for character in unusual if plain.stand_in(character) == "?"} == set()


@pytest.mark.parametrize("setting", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}], ids=str)
def test_a_verb_on_such_a_terminal(setting: dict[str, str]) -> None:
    words = [sys.executable, "-m", "neurobus", "check", "configs/first/ring.toml", "--set", "switches.µ=1"]
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, **setting}, capture_output=True, timeout=100)
    assert done.returncode == 2 and b"no switch 'u'" in done.stderr
