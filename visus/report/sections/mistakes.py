"""The worst mistakes: the images it was surest about, and wrong."""

from __future__ import annotations

from markupsafe import Markup

from visus.report import words
from visus.report.blocks import join, lead, picture, rest, tag
from visus.report.section import OfClasses, sections
from visus.report.story import Story

MOST = 60


@sections.member
class Mistakes(OfClasses):
    title, place, reads = "Worst mistakes", 60, ("mistakes",)

    def body(self, story: Story) -> Markup | None:
        line = story.last("mistakes")
        items = words.tables(line.get("items"))
        if not items:
            none = line and words.finite(story.test.get("error")) == 0
            return lead("No test image was misjudged.") if none else None
        return join(
            lead(f"The {line.get('split') or 'held-out'} images that were misjudged with the most "
                 "confidence. Some may be labeled wrongly: look at them first."),
            tag("ul", [_card(story, item) for item in items[:MOST]], class_="gallery"),
            rest(min(len(items), MOST), len(items), "mistake"),
        )  # fmt: skip


def _card(story: Story, item: dict) -> Markup:
    true, said = story.label(item.get("label")), story.label(item.get("predicted"))
    name = words.text(item.get("name"))
    return tag(
        "li",
        picture(item.get("png"), f"{name}: {true}, taken for {said}"),
        tag("p", tag("span", "true ", class_="noun"), tag("b", true, class_="c-right")),
        tag("p", tag("span", "said ", class_="noun"), tag("b", said, class_="c-wrong")),
        tag("p", f"{words.percent(item.get('probability'))} sure"),
        tag("p", name, class_="file"),
        title=f"{name}\ntrue: {true}\npredicted: {said}",
    )  # fmt: skip
