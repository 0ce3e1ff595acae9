"""The answer at a glance: how well it sees, how sure that is, what it took."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from visus.report import events, words
from visus.report.blocks import tag
from visus.report.charts import Axis, Dot, dot_chart
from visus.report.section import Section, sections
from visus.report.story import Story


@sections.member
class Glance(Section):
    title, place = "At a glance", 0
    reads = ("look", "epoch", "stop", "end", "plan", "step")

    def body(self, story: Story) -> Markup | None:
        if story.all("study"):
            return None  # a search has an answer of its own
        head = tag("div", _answer(story), class_="answer")
        return tag("div", head, _compare(story), _tiles(story), class_="glance")


def _answer(story: Story) -> list[Any]:
    look, best = story.test, story.outcome
    for noun, line, key in (
        ("Test error", look, "error"),
        ("Validation error", best, "validation_error"),
    ):
        error = words.finite(line.get(key))
        if error is not None:
            n = line.get("n") if line is look else story.size("validation")
            plainly = _plainly(error) if story.judged else f"The error is {_article(story.axis)}."
            return _number(noun, error, line, n, _caution(story, line is look), plainly, story.item)
    return [
        tag("p", "No error measured" if story.end else "No error measured yet", class_="noun"),
        tag("p", _standing(story), class_="say"),
    ]


def _number(
    noun: str, error: float, line: dict, n: Any, caution: str, plainly: str, item: str
) -> list[Any]:  # fmt: skip
    bounds = words.interval(line.get("interval"))
    of = f" on {words.some(n, item)}" if words.finite(n) is not None else ""
    under = f"95 % interval {bounds}{of}" if bounds else of.strip()
    return [
        tag("p", noun, class_="noun"),
        tag("p", words.percent(error), class_="big"),
        tag("p", under, class_="under") if under else None,
        tag("p", plainly, " ", caution, class_="say"),
    ]


def _article(axis: str) -> str:
    return axis if axis[:1].isdigit() else f"the {axis}"


def _plainly(error: float) -> str:
    """The error as odds: about 1 in 6 images is misjudged."""
    if error <= 0:
        return "No image was misjudged."
    if error > 0.4:
        return f"About {round(10 * error)} in 10 unseen images are misjudged."
    return f"About 1 in {words.whole(1 / error)} unseen images is misjudged."


def _caution(story: Story, tested: bool) -> str:
    if not tested:
        return "The test images have not been looked at: this is the validation error, by which the best epoch was chosen."
    looks = len(story.looks)
    more = (
        ""
        if looks == 1
        else f" The test images were looked at {looks} times: what is chosen by them is no longer tested by them."
    )
    return f"{_chance(story)}{more}"


def _chance(story: Story) -> str:
    counts = story.counts("train").values()
    if not counts or not sum(counts) or not story.judged:
        return ""
    error = 1 - max(counts) / sum(counts)
    return f"Always naming the most frequent class would misjudge {words.percent(error)}."


def _standing(story: Story) -> str:
    if story.end:
        return events.say(story.end) or "It ended."
    return "The run has begun; no end is recorded. It is still running, or it was killed."


def _compare(story: Story) -> Markup | None:
    look, best, dots = story.test, story.outcome, []
    for name, value, color in (
        ("train", best.get("train_error"), "train"),
        ("validation", best.get("validation_error"), "validation"),
        ("test", look.get("error"), "test"),
    ):
        known = words.finite(value)
        low, high = _bounds(look.get("interval")) if color == "test" else (None, None)
        if known is not None:
            dots.append(Dot(name, known, color, low, high))
    if not dots:
        return None
    axis = Axis(story.axis, words.percent, zero=True)
    return tag("div", dot_chart("Train, validation and test error", dots, axis), class_="compare")


def _bounds(value: Any) -> tuple[float | None, float | None]:
    known = words.interval(value)
    return (float(value[0]), float(value[1])) if known else (None, None)


def _tiles(story: Story) -> Markup:
    best, looks = story.outcome, len(story.looks)
    tiles = [
        ("Validation error", words.percent(best.get("validation_error")), _at_epoch(best)),
        ("Why it stopped", *_stopped(story)),
        ("Time at work", words.seconds(story.seconds), _progress(story)),
        ("Looks at test", words.whole(looks), "each is listed below" if looks else "none so far"),
    ]
    return tag("div", [_tile(*tile) for tile in tiles], class_="tiles")


def _tile(name: str, value: str, under: str) -> Markup:
    long = "value long" if len(value) > 14 else "value"
    parts = [tag("p", name, class_="noun"), tag("p", value, class_=long)]
    return tag("div", *parts, tag("p", under, class_="under"), class_="tile")


def _at_epoch(best: dict) -> str:
    if best.get("epoch") is None:
        return ""
    then = ", then treated" if best.get("treated") else ""
    return f"best, at epoch {words.text(best['epoch'])}{then}"


def _stopped(story: Story) -> tuple[str, str]:
    stop, end = story.last("stop"), story.end
    if not end and not (stop and story.lines[-1]["kind"] == "stop"):
        return "not yet", "no end is recorded"
    reason = events.why(stop["reason"]) if stop.get("reason") is not None else ""
    if story.status == "failed":
        return "it failed", words.text(end.get("message"))
    return reason or story.status, words.text(end["message"]) if end.get("message") else ""


def _progress(story: Story) -> str:
    epochs, plan = story.all("epoch"), story.last("plan")
    if not epochs:
        return "no epoch finished"
    planned = plan.get("epochs") or epochs[-1].get("epochs")
    of = f" of {words.text(planned)}" if planned else ""
    return f"{words.text(epochs[-1].get('epoch'))}{of} epochs"
