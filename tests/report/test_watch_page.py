"""The page of a watched program: what it says first, and which word is the last."""

from __future__ import annotations

import html
import re

import pytest

from visus.report import testimony
from visus.report.evidence import draw
from visus.report.page import compose
from visus.report.seen import Seen
from visus.report.story import Story


def text(lines) -> str:
    """The words of the page, without script, style and tags."""
    page = compose(lines)
    assert not page.broken
    body = re.sub(r"<(script|style).*?</\1>", " ", page.html, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_the_most_likely_cause_stands_first(watched):
    said = text(watched.watched())
    places = [said.index(w) for w in ("Most likely cause", "learning-rate-too-large", "relu-dead")]
    assert places == sorted(places)
    assert "A consequence of learning-rate-too-large ." in said
    assert said.count("lower the learning rate to about 0.01") == 2  # at the top and in the letter
    assert "No finding" in text(watched.watched(sick=False))
    failed = text(watched.failed())
    assert "mat1 and mat2" in failed and "nothing was seen" not in failed


def test_early_findings_give_way_to_the_last_word(watched):
    lines = watched.watched()
    early = [line for line in lines if line["kind"] != "finding" or line["early"]]
    ran = [line for line in early if line["kind"] != "end"]
    assert "Most likely cause" in text(ran) and "Most likely cause" not in text(early)
    assert compose(lines).html.count("<article") == 4


def test_a_training_with_doctor_lines_stays_a_training(ledgers, watched):
    lines = [*ledgers.ledger(epochs=2), *watched.watched()]
    said = text(lines)
    assert "Test error" in said and "Signal flow" in said and "Most likely cause" not in said


@pytest.mark.parametrize(
    ("where", "evidence", "shows"),
    [
        ("features.3", {"dead": 0.9}, "Dead over time"),
        ("features.0", {"ratio": 1e-4, "depth": 6}, "The gradient on its way back"),
        ("features.0", {"spread": 0.1}, "The signal on its way forward"),
        ("optimizer", {"rate": 0.1}, "Loss after one step, by learning rate"),
        ("features.0", {"mean_over_std": 8.0}, "What it passes on, over time"),
        ("labels", {"share": 0.2}, "Training loss"),
    ],
)
def test_a_finding_gets_the_picture_of_what_was_measured(watched, where, evidence, shows):
    seen = Seen(Story(watched.watched()))
    line = {"id": "any", "where": where, "evidence": evidence, "first_step": 4}
    assert shows in str(testimony.testify(line, seen))


def test_layers_at_a_standstill_stand_among_those_that_move(watched):
    lines = [
        line
        for line in watched.watched()
        if (line.get("place"), line.get("quantity")) != ("features.3", "update")
    ]
    line = {"where": "features.3", "evidence": {"share": 0.5}, "first_step": 0}
    assert "How far a step moves each layer" in str(testimony.testify(line, Seen(Story(lines))))


def test_the_input_is_shown_beside_what_is_expected(watched):
    signals = [{"kind": "signal", "place": "input", "quantity": name, "steps": [0], "values": [value]}
               for name, value in (("min", 0.0), ("rms", 240.0), ("max", 2600.0))]  # fmt: skip
    seen = Seen(Story([*watched.watched(), *signals]))
    drawn = str(
        testimony.testify({"where": "input of features.0", "evidence": {"rms": 240.0}}, seen)
    )
    assert "what fresh weights expect" in drawn and "240" in drawn


def test_no_testimony_breaks_on_odd_findings(watched):
    odd = [None, "text", 3, [], {}, [None], True]
    for case in watched.CASES.values():
        seen = Seen(Story(case()))
        for n, value in enumerate(odd):
            line = {
                "where": odd[n - 1],
                "evidence": value,
                "first_step": odd[n - 2],
                "causes": value,
            }
            for kind in testimony.testimonies.values():
                kind().draw(line, seen)
    assert draw(None) == []
