"""What a task said beside what is true: scatter, ROC, calibration, shares, cases, overlays."""

from __future__ import annotations

from markupsafe import Markup

from visus.report import words
from visus.report.blocks import figure, join, lead, picture, tag
from visus.report.charts import Axis, Bar, bar_chart
from visus.report.charts.scatter import Bound, scatter
from visus.report.section import Section, sections
from visus.report.story import Story


def _numbers(value: object) -> list[float]:
    return [v for item in words.listed(value) if (v := words.finite(item)) is not None]


@sections.member
class Predictions(Section):
    title, place, reads = "Said and true", 50, ("scatter",)
    of = ("task", "run")  # where it has nothing to show, the page does not say so

    def body(self, story: Story) -> Markup | None:
        plots = [
            p for p in words.tables(story.last("scatter").get("plots")) if _numbers(p.get("true"))
        ]
        if not plots:
            return None
        drawn = []
        for plot in plots:
            name = words.text(plot.get("name"))
            xs, ys = _numbers(plot.get("true")), _numbers(plot.get("said"))
            drawn.append(
                figure(name, scatter(f"Said and true: {name}", xs, ys, *_axes(name, xs + ys)))
            )
        return join(lead("Each point is a test image: what was said of it over what is true. On the dashed "
                         "line both agree."), drawn)  # fmt: skip


def _axes(name: str, values: list[float]) -> list[Axis]:
    """Both axes over one range: the line where both agree goes from corner to corner."""
    ranks = name == "rank"
    labels = ("true rank", "rank by score") if ranks else ("true", "said")
    shown = words.percent if ranks else words.plain
    return [Axis(label, shown, low=min(values), high=max(values)) for label in labels]


@sections.member
class Roc(Section):
    title, place, reads = "ROC and calibration", 48, ("roc", "calibration")
    of = ("task", "run")  # where it has nothing to show, the page does not say so

    def body(self, story: Story) -> Markup | None:
        roc, rows = story.last("roc"), words.tables(story.last("calibration").get("rows"))
        path = list(zip(_numbers(roc.get("false")), _numbers(roc.get("true")), strict=False))
        if not path:
            return None
        at = _numbers(roc.get("at"))
        name = words.text(roc.get("positive"))
        curve = scatter("ROC curve", [], [], Axis("share of the others taken for it", words.percent, low=0.0, high=1.0),
                        Axis(f"share of {name} found", words.percent, low=0.0, high=1.0), path=path,
                        mark=(at[0], at[1]) if len(at) == 2 else None)  # fmt: skip
        bars = [
            Bound(*(float(v) for v in (row["probability"], row["share"], *row["interval"])))
            for row in rows
            if len(_numbers(row.get("interval"))) == 2
            and words.finite(row.get("share")) is not None
        ]
        told = scatter("Calibration", [], [], Axis(f"probability said of {name}", words.percent, low=0.0, high=1.0),
                       Axis(f"share that is {name}", words.percent, low=0.0, high=1.0), bounds=bars)  # fmt: skip
        return join(
            lead(f"Left to right the threshold falls: more images of {name} are found, and "
                 f"more others are taken for it. The dot is the threshold chosen on validation, {words.plain(roc.get('threshold'))}."),
            figure("ROC curve", curve),
            lead("Calibration: of the images given a probability, the share that has it; on the dashed "
                 "line the probabilities come true."),
            figure("Calibration", told),
        )  # fmt: skip


@sections.member
class SharesSaid(Section):
    title, place, reads = "Mean shares", 52, ("shares",)
    of = ("task", "run")  # where it has nothing to show, the page does not say so

    def body(self, story: Story) -> Markup | None:
        rows = words.tables(story.last("shares").get("rows"))
        if not rows:
            return None
        bars = [
            bar
            for row in rows
            for bar in (
                Bar(
                    f"{words.text(row.get('class'))}, true",
                    [(words.finite(row.get("true")) or 0.0, "right")],
                ),
                Bar(
                    f"{words.text(row.get('class'))}, said",
                    [(words.finite(row.get("said")) or 0.0, "test")],
                ),
            )
        ]
        return join(lead("The mean share of each class over the test images, true and said."),
                    figure("Mean shares", bar_chart("Mean shares", bars, format=words.percent)))  # fmt: skip


@sections.member
class Cases(Section):
    title, place, reads = "Images with their answers", 60, ("cases",)
    of = ("task", "run")  # where it has nothing to show, the page does not say so

    def body(self, story: Story) -> Markup | None:
        line = story.last("cases")
        items = words.tables(line.get("items"))
        if not items:
            return None
        return join(lead(f"{words.text(line.get('title'))}, of the test images."),
                    tag("ul", [_card(item) for item in items], class_="gallery"))  # fmt: skip


def _card(item: dict) -> Markup:
    name, true, said = (words.text(item.get(key)) for key in ("name", "true", "said"))
    return tag(
        "li",
        picture(item.get("png"), f"{name}: true {true}, said {said}"),
        tag("p", tag("span", "true ", class_="noun"), tag("b", true, class_="c-right")),
        tag("p", tag("span", "said ", class_="noun"), tag("b", said, class_="c-wrong")),
        tag("p", name, class_="file"),
        title=name,
    )


@sections.member
class Overlays(Section):
    title, place, reads = "Masks", 47, ("overlays",)
    of = ("task", "run")  # where it has nothing to show, the page does not say so

    def body(self, story: Story) -> Markup | None:
        line = story.last("overlays")
        items = words.tables(line.get("items"))
        if not items:
            return None
        keys = [
            tag(
                "span",
                tag("span", "■ ", style=f"color:{_hex(row.get('color'))}"),
                words.text(row.get("class")),
            )
            for row in words.tables(line.get("colors"))
        ]
        return join(
            lead("Test images from the best to the worst: the image, its true mask, and what was said. "
                 "Grey is ignored. The number is 1 − mean IoU of the image."),
            tag("p", *[part for key in keys for part in (key, "  ")], class_="note"),
            tag("ul", [_triple(item) for item in items], class_="masks"),
        )  # fmt: skip


def _hex(value: object) -> str:
    text = str(value)
    safe = len(text) == 7 and text[0] == "#" and all(c in "0123456789abcdef" for c in text[1:])
    return text if safe else "#888888"


def _triple(item: dict) -> Markup:
    name = words.text(item.get("name"))
    shown = [
        tag("div", picture(item.get(key), f"{name}, {said}"), tag("p", said, class_="noun"))
        for key, said in (("png", "image"), ("true", "true"), ("said", "said"))
    ]
    return tag("li", tag("div", shown, class_="triple"),
               tag("p", f"{words.percent(item.get('error'))}, {name}", class_="file"))  # fmt: skip
