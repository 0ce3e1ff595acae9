"""Sheets of sample images: what the network is shown, jitter and all."""

from __future__ import annotations

from markupsafe import Markup

from visus.report import words
from visus.report.blocks import join, lead, picture, rest, tag
from visus.report.section import Section, sections
from visus.report.story import Story

MOST = 96


@sections.member
class Samples(Section):
    title, place, reads = "Training samples", 80, ("sheet",)

    def body(self, story: Story) -> Markup | None:
        newest = {
            str(line.get("name", "")): line
            for line in story.all("sheet")
            if words.tables(line.get("images"))
        }
        if not newest:
            return None
        said = "Training images as the network sees them, with jitter. A person should still name each without doubt."
        return join(
            lead(said),
            [_sheet(story, name, line, len(newest) > 1) for name, line in newest.items()],
        )


def _sheet(story: Story, name: str, line: dict, many: bool) -> Markup:
    images = words.tables(line["images"])
    cards = []
    for item in images[:MOST]:
        label = story.label(item["label"]) if item.get("label") is not None else words.NONE
        cards.append(tag("li", picture(item.get("png"), label), tag("p", label), title=label))
    more = rest(min(len(images), MOST), len(images), "image")
    return tag(
        "div", tag("h3", name) if name and many else None, tag("ul", cards, class_="sheet"), more
    )
