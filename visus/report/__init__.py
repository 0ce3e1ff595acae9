"""Views of a ledger: one offline HTML file, and the terminal. Knows ledger lines only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from visus.report.page import Page as Page
    from visus.report.page import compose as compose
    from visus.report.page import write as write

__all__ = ["Page", "compose", "write"]


def __getattr__(name: str) -> Any:
    # The page and its templates are read in when a page is asked for: a terminal needs none.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from visus.report import page

    return getattr(page, name)
