"""The data: classes, images in each split, files left out, normalization."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from visus.report import words
from visus.report.blocks import Column, facts, figure, folded, join, rest, table, tag
from visus.report.charts import Bar, bar_chart, share_bars
from visus.report.section import Section, sections
from visus.report.story import Story

SPLITS = ("train", "validation", "test")
MOST_BARS, MOST_BAD = 30, 200
CHANNELS = {1: ["grey"], 3: ["red", "green", "blue"]}


@sections.member
class Data(Section):
    title, place, reads, of = "Data", 90, ("data", "split"), ("run", "audit")

    def body(self, story: Story) -> Markup | None:
        if not story.last("data") and not story.last("split"):
            return None
        line = story.last("data")
        return join(
            facts(_facts(story, line)), _classes(story), _bad(line.get("bad")), _moments(line)
        )


def _facts(story: Story, line: dict) -> list[tuple[str, Any]]:
    split = story.last("split")
    sizes = ", ".join(
        f"{words.whole(n)} {name}" for name in SPLITS if (n := story.size(name)) is not None
    )
    pairs = [
        ("source", words.text(line.get("source"))),
        (words.outputs(line)[1], _outputs(story, line)),
        ("images", sizes),
        ("pairs", _pairs(split.get("pairs"))),
        ("image size", f"{words.shape(line['size'])} pixels" if line.get("size") else ""),
        ("channels", words.text(line.get("channels"))),
        ("split", words.text(split["how"]) if split.get("how") else ""),
        ("in two parts", _leaks(split.get("leaks"))),
        ("split file", words.text(split["file"]) if split.get("file") else ""),
        ("split sha256", tag("code", split["sha256"]) if split.get("sha256") else ""),
    ]
    return [pair for pair in pairs if pair[1] and pair[1] != words.NONE]


def _outputs(story: Story, line: dict) -> str:
    """How many classes; of numbers, labels and scores the names, which no table below has."""
    named = words.outputs(line)[1] != "classes"
    return ", ".join(story.classes) if named else words.whole(len(story.classes))


def _pairs(value: Any) -> str:
    """Pairs by split: those of images in two splits are left out, often most of them."""
    if not isinstance(value, dict):
        return ""
    counted = ", ".join(f"{words.whole(value.get(name))} {name}" for name in SPLITS)
    return f"{counted}; pairs across splits are left out"


def _leaks(value: Any) -> str:
    return f"{words.some(value, 'image')}, byte for byte the same" if words.finite(value) else ""


def _classes(story: Story) -> Markup | None:
    counts = {split: story.counts(split) for split in SPLITS}
    counted: list[str] = [*{name: 0 for table in counts.values() for name in table}]
    known = not counted or bool(set(counted) & set(story.classes))
    names: list[str] = [*dict.fromkeys([*(story.classes if known else []), *counted])]
    if not names or not any(counts.values()):
        return None
    title = "Images per class" if set(names) <= set(story.classes) else "Images by target"
    shown = _bars(names, counts) if len(names) <= MOST_BARS else _columns(names, counts)
    return figure(title, shown, folded(f"{title} as a table", _table(names, counts)))


def _bars(names: list[str], counts: dict[str, dict[str, int]]) -> Markup:
    bars = [Bar(name, [(counts[split].get(name, 0), split) for split in SPLITS]) for name in names]
    return bar_chart("Images per class", bars, keys=[(split, split) for split in SPLITS])


def _columns(names: list[str], counts: dict[str, dict[str, int]]) -> Markup:
    totals = [(name, sum(counts[split].get(name, 0) for split in SPLITS)) for name in names]
    return share_bars("Images per class", [(name, n, words.whole(n)) for name, n in totals])


def _table(names: list[str], counts: dict[str, dict[str, int]]) -> Markup:
    rows = [
        [name, *(words.whole(counts[split].get(name, 0)) for split in SPLITS)] for name in names
    ]
    heads = [Column("class"), *(Column(split, numeric=True) for split in SPLITS)]
    return table(heads, rows, "Images per class", small=True)


def _bad(bad: Any) -> Markup | None:
    files = words.tables(bad)
    if not files:
        return None
    rows = [[tag("span", words.text(item.get("name")), class_="path"), words.text(item.get("reason"))]
            for item in files[:MOST_BAD]]  # fmt: skip
    made = table([Column("file"), Column("reason")], rows, "Files left out")
    return join(tag("h3", f"{words.some(len(files), 'file')} left out"), made,
                rest(min(len(files), MOST_BAD), len(files), "file"))  # fmt: skip


def _moments(line: dict) -> Markup | None:
    mean, std = line.get("mean"), line.get("std")
    if not isinstance(mean, list) or not isinstance(std, list) or not mean:
        return None
    names = CHANNELS.get(len(mean)) or [f"channel {i}" for i in range(len(mean))]
    rows = [[name, words.plain(m, 4), words.plain(s, 4)]
            for name, m, s in zip(names, mean, std, strict=False)]  # fmt: skip
    heads = [Column("channel"), Column("mean", True), Column("standard deviation", True)]
    said = "Each channel is shifted and scaled to mean 0 and standard deviation 1 by these numbers, in units of 0 (black) to 1 (white), from training images only."
    return join(
        tag("h3", "Normalization"),
        tag("p", said, class_="note"),
        table(heads, rows, "Normalization", small=True),
    )
