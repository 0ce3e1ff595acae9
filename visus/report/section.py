"""A section of the report: one class in one file under `sections/`, and nothing else.

@sections.member
class LossCurve(Section):
    title, place, reads = "Loss", 35, ("epoch",)
    def body(self, story): ...          # HTML, or None where the ledger has nothing on it
"""

from __future__ import annotations

from typing import ClassVar

from markupsafe import Markup

from visus.family import Family
from visus.report.story import Story

sections = Family("report section", package="visus.report.sections")


class Section:
    """One part of the page. `place` orders them; `reads` names the ledger kinds it shows.

    `of` names the subjects it belongs to: "run" (a training by visus, a search), "watch" (a
    program of somebody else's under the doctor). The page of the first one says so where the
    section has nothing to show.
    """

    title: ClassVar[str] = ""
    place: ClassVar[int] = 0
    reads: ClassVar[tuple[str, ...]] = ()
    of: ClassVar[tuple[str, ...]] = ("run",)

    def awaited(self, story: Story) -> bool:
        """Whether the page says so where there is nothing to show."""
        return self.of[0] == story.subject

    def body(self, story: Story) -> Markup | None:
        """The section's HTML, or None where the ledger holds nothing for it."""
        raise NotImplementedError


class OfClasses(Section):
    """A section that other tasks may lack without a word."""

    def awaited(self, story: Story) -> bool:
        task = story.last("task").get("name")
        return super().awaited(story) and task in (None, "classification")


def ordered() -> list[tuple[str, Section]]:
    """All sections as (name, section), in the order of the page."""
    made = [(name, kind()) for name, kind in sections.items()]
    return sorted(made, key=lambda pair: (pair[1].place, pair[0]))
