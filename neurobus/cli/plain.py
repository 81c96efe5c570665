"""Terminals that cannot show all characters: stand-ins of ASCII, in one place, for whatever a verb writes."""

from __future__ import annotations

import codecs
import os
import sys
import unicodedata
from collections.abc import Callable, Mapping

ASCII, TEXT, CELLS = "neurobus_ascii", "neurobus.text", "neurobus.cells"
"""An encoding and two error handlers; `CELLS` gives one character for one, so that columns stay."""
STAND_INS = {
    **dict.fromkeys("µμ", "u"), **dict.fromkeys("–—−─━╌╍╴╶▔▃", "-"), **dict.fromkeys("·•∙⋅○◌□░", "."),
    **dict.fromkeys("│┃┆┇┊┋╎╏▏▎▍▌▐▕", "|"), **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼┏┓┗┛┣┫┳┻╋╸╺✓", "+"),
    **dict.fromkeys("●◉⬤■⭘°", "o"), **dict.fromkeys("‘’", "'"), **dict.fromkeys("“”", '"'),
    **dict.fromkeys("×✗", "x"), **dict.fromkeys("⟩▸▶❯›", ">"), **dict.fromkeys("⟨‹◀", "<"),
    **dict.fromkeys("↑▲", "^"), **dict.fromkeys("↓▼", "v"), **dict.fromkeys("▁▂", "_"),
    **dict.fromkeys("▄▅▀", "="), **dict.fromkeys("▇█▉▊▋▓", "#"), **dict.fromkeys("▆★", "*"),
    "…": "...", "→": "->", "←": "<-", "≥": ">=", "≤": "<=", "±": "+-", "≈": "~", "∝": "~", "▒": ":",
    "∞": "inf", "∫": "int", "γ": "gamma", "Δ": "Delta", "ε": "eps", "λ": "lambda", "ν": "nu", "σ": "sigma",
    "τ": "tau", "Ω": "Ohm",
}  # fmt: skip


def stand_in(character: str, cells: bool = False) -> str:
    """ASCII for one character: `µ` is u, `–` is -, an accent is dropped; what has none is a question mark."""
    text = STAND_INS.get(character)
    if text is None:
        text = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode() or "?"
    return text[0] if cells else text


def _handler(cells: bool) -> Callable[[UnicodeError], tuple[str, int]]:
    def replace(error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        wrong = error.object[error.start : error.end]
        return "".join(stand_in(character, cells) for character in wrong), error.end

    return replace


codecs.register_error(TEXT, _handler(False))
codecs.register_error(CELLS, _handler(True))


def _find_codec(name: str) -> codecs.CodecInfo | None:
    """ASCII under another name: click takes a stream that says `ascii` for a mistake and writes UTF-8."""
    if name != ASCII:
        return None
    found = codecs.lookup("ascii")
    return codecs.CodecInfo(
        found.encode, found.decode, found.streamreader, found.streamwriter,
        found.incrementalencoder, found.incrementaldecoder, name=ASCII,
    )  # fmt: skip


codecs.register(_find_codec)


def asks_for_ascii(environment: Mapping[str, str], utf8_mode: bool) -> bool:
    """Whether the locale asks for ASCII where Python, for files' sake, would write UTF-8.

    Without any locale Python takes C.UTF-8 by itself, so what is C here was chosen.
    """
    locale = next((value for key in ("LC_ALL", "LC_CTYPE", "LANG") if (value := environment.get(key))), "")
    chosen = "PYTHONIOENCODING" in environment or "PYTHONUTF8" in environment
    return utf8_mode and not chosen and locale in ("C", "POSIX")


def use_stand_ins(handler: str = TEXT) -> None:
    """From now on nothing that is written to stdout or stderr can fail for want of a character."""
    ascii_only = asks_for_ascii(os.environ, bool(sys.flags.utf8_mode))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where somebody put a stream of another kind in its place
            plain = ascii_only or codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=ASCII if plain else stream.encoding, errors=handler)
