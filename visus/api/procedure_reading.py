"""Reading the errors of a run, and the labels where these contradict them.

Between the epochs and when the run is over: what the lecture's table of symptoms says, as findings
on record with what may help in this very recipe.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from visus import ledger as book
from visus import training
from visus.api import procedure_labels as labels
from visus.api import procedure_treat as treating
from visus.api.procedure_chart import chart
from visus.api.procedure_errors import doubtful, read_errors
from visus.api.procedure_record import Record
from visus.ledger import Line

FIRST, FEWEST, MOST = 0.04, 16, 40  # the first steps that are watched: share, at least, at most
SURE = 0.5  # confidence from which a finding calls for a trial
UNLIKE = "training errs far more than validation, and its labels look right: a bad division"
CONTRADICTED = "training errs no less than validation, and its images look unlike their labels: wrong labels in train"
DIVISION, QUARANTINE = "split-unrepresentative", "training.quarantine="
APART, AGAIN = 0.15, 2  # of the run between votes on a quarantine; times
LAST = 0.8  # share of the run until which a remedy may still help


@dataclass
class Reading(Record):
    """A record, and what the errors in it say of the session that writes it."""

    asked: training.Recipe
    dataset: Any
    network: nn.Module | None = None
    voted: tuple[int, labels.Suspects] | None = field(default=None, init=False)  # step, newest vote

    def read(
        self, session: training.Session, now: Line | None = None
    ) -> tuple[str, dict[str, float], dict[str, Any]]:
        """What the errors of the epochs so far say, and of `now`; as a finding where there is one.

        Training errs more than validation where labels of train are wrong, or where the division
        is bad: the vote on the labels tells which.
        """
        if not watched(session):
            few = session.plan.steps
            return f"a run of {few} steps is too short for its errors to say anything", {}, {}
        epochs = book.select(book.history(self.past), "epoch") + ([now] if now else [])
        decided, symptoms, evidence = read_errors(epochs, self.checks().get("baseline", {}))
        if "label-noise" in symptoms and not self._suspects(session).likely:
            decided, symptoms = UNLIKE, {DIVISION: 0.5}
        elif not symptoms and doubtful(evidence) and self._contradicted(session):
            decided, symptoms = CONTRADICTED, {"label-noise": 0.6}
        return decided, symptoms, evidence

    def news(self) -> set[str]:
        """What the errors say now and have not said in this attempt; labels have their own moments."""
        epochs = book.select(book.history(self.past), "epoch")
        symptoms = read_errors(epochs, self.checks().get("baseline", {}))[1]
        known = {line["id"] for line in book.select(self._attempt(), "finding")}
        return set(symptoms) - known if "label-noise" not in symptoms else set()

    def diagnosed(self, session: training.Session, now: Line | None = None) -> tuple[str, dict[str, float], dict[str, Any]]:  # fmt: skip
        """The same, with its findings on record."""
        decided, symptoms, evidence = self.read(session, now)
        if symptoms:
            facts = {"given_network": self.network is not None}
            known = chart(session, self.asked, symptoms, facts)
            self.reading(decided, symptoms, evidence, session.step, known)
        return decided, symptoms, evidence

    def _contradicted(self, session: training.Session) -> bool:
        """Whether neighbours contradict far more labels of train than of validation, most of them rightly.

        Little speaks for it, so a few of a large data set are asked first, and nobody where the
        time is up.
        """
        if self.agreed(session.budget.over):
            return False
        few = lambda: labels.sampled(session, labels.FEW)  # noqa: E731
        if len(self.dataset.train) > labels.FEW and not self.agreed(few).many:
            return False
        return self._suspects(session).many

    def _suspects(self, session: training.Session) -> labels.Suspects:
        """The vote on the labels, once a step."""
        if self.voted is None or self.voted[0] != session.step:
            self.voted = (session.step, self.agreed(lambda: labels.suspected(session)))
        return self.voted[1]

    def _rejudged(self, session: training.Session) -> bool:
        """Whether other labels are suspected, now that those of a kept quarantine have no vote."""
        if session.step % session.plan.per_epoch:
            return False
        past = self._attempt()
        kept = [x for x in book.select(past, "trial") if x.get("kept")]
        judged = [x["at"] for x in kept if QUARANTINE in " ".join(x["edits"])]
        votes = [x for x in book.select(past, "stage") if x["name"] == "suspects"]
        judged += [x["evidence"]["step"] for x in votes]
        if not judged or len(judged) > AGAIN:
            return False
        gone = (session.step - max(judged)) / session.plan.steps
        if session.plan.done(session.step) > LAST or gone < APART:
            return False
        began, seen = time.monotonic(), self._suspects(session)
        held, names = set(session.recipe.training.quarantine), set(seen.names)
        edits = labels.quarantine(session, seen) if seen.likely and names != held else []
        said = f"{len(names - held)} more labels are suspected, {len(held - names)} are no longer"
        numbers = {"step": session.step, "suspected labels": len(names), "likely wrong of these": seen.precision}  # fmt: skip
        self.stage("suspects", said if edits else "the suspected labels stay", numbers | {"edits": edits}, began)  # fmt: skip
        session.back(began)
        return bool(edits)


def watched(session: training.Session) -> int:
    """Steps that are watched at the beginning; 0 where the run is too short to be examined."""
    few = treating.shortest(session)
    if session.plan.steps < 3 * few:
        return 0
    return max(min(FEWEST, few), min(MOST, round(FIRST * session.plan.steps)))
