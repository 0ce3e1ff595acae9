"""Text as a terminal can show and a person can search: plain spaces, ASCII where need be."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment

SPACES = str.maketrans({"\u202f": " ", "\u00a0": " "})
ASCII = str.maketrans({"×": "x", "–": "-", "…": "~", "→": ">", "━": "-", "╸": "-", "╺": "-"})


@dataclass
class Spoken:
    """Any renderable, its spaces plain, and in ASCII where the output knows no more.

    A character that the output cannot encode becomes "?": a class name never ends a training.
    """

    what: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        encoding = console.encoding or "utf-8"
        for text, style, control in console.render(self.what, options):
            yield Segment(text if control else _said(text, encoding), style, control)


def _said(text: str, encoding: str) -> str:
    text = text.translate(SPACES)
    if encoding.lower().startswith("utf"):
        return text
    return text.translate(ASCII).encode(encoding, "replace").decode(encoding)
