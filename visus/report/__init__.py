"""Views of a ledger: one offline HTML file, and the terminal. Knows ledger lines only."""

from visus.report.page import Page, compose, write

__all__ = ["Page", "compose", "write"]
