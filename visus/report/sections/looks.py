"""The vault: every look at the test images."""

from __future__ import annotations

from markupsafe import Markup

from visus.report import words
from visus.report.blocks import Column, join, lead, table
from visus.report.section import Section, sections
from visus.report.story import Story


@sections.member
class Looks(Section):
    title, place, reads = "Looks at test", 130, ("look", "pixels")

    def body(self, story: Story) -> Markup | None:
        looks = story.looks
        if story.all("study"):
            return None  # a search has no way to the vault
        said = ("Test images are only observed: nothing is trained or chosen by them, and every look is counted. "
                "The more often a choice follows a look, the less the test error means.")  # fmt: skip
        if pixels := story.last("pixels"):
            said += f" Before training an audit compared the pixels of {words.whole(pixels.get('n'))} with the other images, without labels and without a model: that is no look."
        if not looks:
            return lead("The test images have not been looked at. ", said)
        heads = [Column("reason"), Column("look", True), Column("when"), Column("images", True),
                 Column("error", True), Column("95 % interval"), Column("loss", True)]  # fmt: skip
        rows = [
            [
                words.text(line.get("reason")),
                words.text(line.get("number")),
                words.moment(line.get("t")),
                words.whole(line.get("n")),
                words.percent(line.get("error")),
                words.interval(line.get("interval")) or words.NONE,
                words.plain(line.get("loss")),
            ]
            for line in looks
        ]
        return join(lead(said), table(heads, rows, "Looks at test"))
