"""What a page says of findings that were treated, and of parts that a task cannot have."""

from __future__ import annotations

from visus.report.page import compose


def test_what_a_task_cannot_have_is_not_called_missing():
    lines = [{"kind": "run"}, {"kind": "task", "name": "regression"}]
    assert "Confusion" in compose(lines[:1]).missing
    assert not {"Confusion", "Worst mistakes", "Classes one by one"} & set(compose(lines).missing)


def test_what_was_treated_is_told_from_what_is_there():
    one = {"kind": "finding", "id": "relu-dead", "severity": "error", "explanation": "first"}
    other = {"kind": "finding", "id": "init-zero", "severity": "error", "explanation": "gone"}
    again = {"kind": "resume", "step": 0, "restart": True}
    later = one | {"explanation": "still there"}
    page = compose([{"kind": "run"}, one, other, again, later]).html
    cards = page.split('class="finding')[1:]
    assert len(cards) == 2 and "still there" in cards[0] and "Treated" not in cards[0]
    assert "gone" in cards[1] and "Treated: not seen" in cards[1]
