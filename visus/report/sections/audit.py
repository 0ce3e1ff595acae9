"""The audit of a data set: what stands first, and the pictures behind the findings."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from visus.report import words
from visus.report.blocks import facts, join, lead, picture, rest, tag
from visus.report.section import Section, sections
from visus.report.story import Story

PARTS = ("train", "validation", "test")


@sections.member("glance-audit")
class AuditGlance(Section):
    title, place, reads, of = "At a glance", 0, ("audit", "pixels"), ("audit",)

    def body(self, story: Story) -> Markup | None:
        line = story.last("audit")
        found = [f for f in story.all("finding") if f.get("severity") != "info"]
        named = ", ".join(words.text(f.get("id")) for f in found)
        said = (
            f"{words.some(len(found), 'finding')}: {named}."
            if found
            else "No finding: the data and its split look sound."
        )
        return join(lead(said), facts([pair for pair in _facts(story, line) if pair[1]]))


def _facts(story: Story, line: dict) -> list[tuple[str, Any]]:
    copies, labels, channels = (_table(line.get(k)) for k in ("copies", "labels", "channels"))
    sizes, pixels = _table(line.get("sizes")), story.last("pixels")
    return [
        ("images", words.whole(line.get("n"))),
        ("unreadable files", words.whole(len(words.tables(story.last("data").get("bad"))))),
        ("copies", f"{words.some(copies.get('pairs'), 'pair')}, {words.whole(copies.get('across'))} across splits" if copies else ""),
        ("arbitrary labels", _labels(labels)),
        *((f"{part} against train", _drift(_table(line.get(f"drift_{part}")))) for part in PARTS[1:]),
        ("original sizes", words.text(sizes.get("said")) if sizes else ""),
        ("blank images", words.whole(channels.get("blank")) if channels else ""),
        ("test images", f"{words.whole(pixels.get('n'))} compared by pixels, without labels; no look" if pixels else ""),
        ("not done", words.text(line["skipped"]) if line.get("skipped") else ""),
    ]  # fmt: skip


def _table(value: Any) -> dict:
    return value if isinstance(value, dict) else {}


def _labels(labels: dict) -> str:
    if not labels:
        return ""
    seen = f"predictions of images held out contradict {words.percent(labels.get('error'))}"
    if not labels.get("judged", True):
        return f"not judged, the images are too few or too hard: {seen}"
    return f"about {words.percent(labels.get('share'))}; {seen}"


def _drift(drift: dict) -> str:
    if not drift:
        return ""
    return f"told apart on {words.percent(drift.get('accuracy'))} (chance 50 %), p = {words.plain(drift.get('p'), 2)}"


@sections.member("gallery")
class Gallery(Section):
    title, place, reads, of = "Look at these", 30, ("gallery",), ("audit", "run")

    def body(self, story: Story) -> Markup | None:
        newest = {str(line.get("name")): line for line in story.all("gallery")}
        return join([_gallery(line) for line in newest.values()]) if newest else None


def _gallery(line: dict) -> Markup:
    items, of = words.tables(line.get("items")), words.finite(line.get("of"))
    return tag(
        "div",
        tag("h3", words.text(line.get("title"))),
        tag("p", words.text(line.get("said")), class_="note"),
        tag("ul", [_card(item) for item in items], class_="gallery"),
        rest(len(items), round(of) if of else len(items), "example"),
    )


def _card(item: dict) -> Markup:
    caption, short = words.text(item.get("caption")), words.text(item.get("short") or "")
    return tag(
        "li",
        [picture(png, caption) for png in words.listed(item.get("pngs"))],
        tag("p", short) if short else None,
        tag("p", caption, class_="file"),
        title=caption,
    )
