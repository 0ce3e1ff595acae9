"""Text of strangers: how wide it is, how it is cut, what must not be in it."""

from __future__ import annotations

import unicodedata
from typing import Any


def width(name: str) -> float:
    """The width of `name` in average characters: wide letters and East Asian ones count more."""
    return sum(_wide(c) for c in name)


def _wide(c: str) -> float:
    if c.isascii():
        return 1.5 if c in "mwMW@%" else 1.0
    if c in "…→–×":
        return 1.0
    return 1.0 if unicodedata.east_asian_width(c) in ("N", "Na", "H") and c.isalpha() else 1.75


def cut(name: Any, room: float) -> str:
    """`name` in at most `room` characters, its middle left out: class names differ at the ends."""
    name = str(name)
    if width(name) <= room:
        return name
    head, tail = "", ""
    while name and width(head + tail + name[0]) + 1 <= room:
        head, name = head + name[0], name[1:]
        if name and width(head + tail + name[-1]) + 1 <= room:
            tail, name = name[-1] + tail, name[:-1]
    return f"{head}…{tail}"


_HIDDEN = set(range(0x202A, 0x202F)) | set(range(0x2066, 0x206A)) | {0x200E, 0x200F}


def clean(value: Any) -> Any:
    """`value` without characters that could break a page or steer a terminal.

    Control characters, lone surrogates (undecodable file names) and direction overrides
    become U+FFFD, so that a hostile file name is only ever text.
    """
    if isinstance(value, str):
        return value if value.isascii() and value.isprintable() else _clean_text(value)
    if isinstance(value, dict):
        return {_clean_text(str(key)): clean(item) for key, item in value.items()}
    return [clean(item) for item in value] if isinstance(value, list) else value


def _clean_text(value: str) -> str:
    return "".join("\ufffd" if _unsafe(c) else c for c in value)


def _unsafe(c: str) -> bool:
    if c in "\n\t":
        return False
    odd = unicodedata.category(c) in ("Cc", "Cs") or ord(c) in _HIDDEN
    return odd or ord(c) & 0xFFFE == 0xFFFE
