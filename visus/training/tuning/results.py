"""What the trials of a study tell: which recipe is best, how sure that is, which keys mattered."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from visus.errors import RunError
from visus.training.tuning import storage
from visus.training.tuning.space import Space

FEW = 10  # trials below which nothing is said about importance


@dataclass(frozen=True)
class Trial:
    """A trial of the study. `state` is waiting, running or one of `Outcome.state`."""

    number: int
    state: str
    role: str
    value: Any  # the rank where it is done, else None
    params: dict[str, Any]
    facts: dict[str, Any]
    frozen: Any

    @property
    def finished(self) -> bool:
        return self.state not in ("waiting", "running", "interrupted")

    @property
    def seconds(self) -> float:
        return float(self.facts.get("seconds", 0.0))

    def line(self) -> dict[str, Any]:
        """As the ledger holds it."""
        kept = (
            "role",
            "of",
            "seed",
            "values",
            "error",
            "loss",
            "epochs",
            "seconds",
            "curve",
            "reason",
        )
        known = {key: self.facts[key] for key in kept if key in self.facts}
        return {"number": self.number, "state": self.state, **known}


def trials_of(study: Any) -> list[Trial]:
    """The trials of an Optuna study, in order."""
    gone = {key for key in study.user_attrs if key.startswith("interrupted ")}
    found = []
    for one in study.get_trials(deepcopy=False):
        facts = one.user_attrs.get("facts", {})
        state = one.state.name.lower()
        if f"interrupted {one.number}" in gone:
            state = "interrupted"
        elif state not in ("waiting", "running"):
            state = facts.get("state", "failed")
        params = one.params or one.system_attrs.get("fixed_params", {})
        role = one.user_attrs.get("role", "search")
        found.append(Trial(one.number, state, role, one.value, params, facts, one))
    return found


def finals(trials: list[Trial], count: int) -> list[Trial]:
    """The plain recipe and the `count` best trials that beat it; the plain one alone where none did."""
    done = _done(trials)
    plain = [t for t in trials if t.role == "default" and t.finished]
    limit = next((t.value for t in plain if t.state == "done"), None)
    better = [t for t in done if t.role == "search" and (limit is None or t.value < limit)]
    return [*plain[:1], *better[:count]] if better else plain[:1]


def _done(trials: list[Trial]) -> list[Trial]:
    done = [t for t in trials if t.state == "done" and t.role != "final"]
    return sorted(done, key=lambda t: (t.value, t.number))


def result(trials: list[Trial], space: Space, rung: int, rounds: int) -> dict[str, Any]:
    """The facts of a `tuning-result` line: the recipe to use and what speaks for it.

    `chosen` is the number of its trial: the finalist with the least mean over the fresh seeds, the
    plain recipe where none is below it; without finals the best trial.
    """
    done = _done(trials)
    if not done:
        reasons = [t.facts.get("reason", "") for t in trials if t.facts.get("reason")]
        why = f"; the last one: {reasons[-1]}" if reasons else ""
        raise RunError(
            f"tune: none of {len(trials)} trials was finished{why}; give more time, or fewer epochs "
            "with --set epochs=5"
        )
    scores = _scores(trials, rounds)
    chosen = _chosen(done, scores, trials)
    plain = next((t for t in trials if t.role == "default"), None)
    return {
        "chosen": chosen.number, "values": {} if chosen.role == "default" else chosen.facts["values"],
        "error": _error(chosen, scores), "default": plain.number if plain else None,
        "default_error": _error(plain, scores) if plain else None,
        "finals": [{"number": n, **s} for n, s in scores.items()],
        "importance": importance(trials, space, rung), "counts": _counts(trials),
        "seconds": sum(t.seconds for t in trials),
    }  # fmt: skip


def _error(trial: Trial, scores: dict[int, dict[str, Any]]) -> float | None:
    """The validation error of a trial: the mean over fresh seeds where it was in the finals."""
    errors = scores.get(trial.number, {}).get("errors")
    return statistics.mean(errors) if errors else trial.facts.get("error")


def _scores(trials: list[Trial], rounds: int) -> dict[int, dict[str, Any]]:
    """Errors over fresh seeds of each finalist that has all of them; a lost final counts as error 1."""
    found: dict[int, list[Trial]] = {}
    for t in trials:
        if t.role == "final" and t.finished and t.state != "late":
            found.setdefault(int(t.facts["of"]), []).append(t)
    whole = {n: ts for n, ts in found.items() if len({t.facts["seed"] for t in ts}) >= rounds}
    return {
        n: {
            "errors": [t.facts["error"] if t.state == "done" else 1.0 for t in ts],
            "rank": statistics.mean(t.value if t.value is not None else 1.0 for t in ts),
        }
        for n, ts in whole.items()
    }


def _chosen(done: list[Trial], scores: dict[int, dict[str, Any]], trials: list[Trial]) -> Trial:
    by = {t.number: t for t in trials}
    plain = next((n for n in scores if by[n].role == "default"), None)
    if plain is None:
        return done[0]
    # The plain recipe comes first: another must be below it.
    order = sorted(scores, key=lambda n: (scores[n]["rank"], n != plain))
    usable = [by[n] for n in order if by[n].state == "done"]
    return usable[0] if usable else done[0]


def _counts(trials: list[Trial]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for t in trials:
        key = "finals" if t.role == "final" else t.state
        counts[key] = counts.get(key, 0) + 1
    return counts


def importance(trials: list[Trial], space: Space, rung: int) -> dict[str, float]:
    """The share that each key has in reaching the better quarter of the trials (PED-ANOVA).

    By what all trials had shown after epoch `rung`, so that pruned ones count too; {} for fewer
    than ten trials. Watanabe, Bansal & Hutter 2023, IJCAI.
    """
    optuna = storage.quiet_optuna()
    seen = [(t.frozen, _after(t, rung)) for t in trials if t.role != "final" and t.params]
    seen = [(frozen, value) for frozen, value in seen if value is not None]
    if len(seen) < FEW:
        return {}
    study = optuna.create_study(direction="minimize")
    for frozen, value in seen:
        study.add_trial(
            optuna.trial.create_trial(
                params=frozen.params, distributions=frozen.distributions, value=value
            )
        )
    judge = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
    found = optuna.importance.get_param_importances(study, evaluator=judge)
    return {name: round(float(share), 4) for name, share in found.items()}


def _after(trial: Trial, rung: int) -> float | None:
    """The rank a trial had at epoch `rung`, or where it broke off before."""
    known = {e: v for e, v in trial.frozen.intermediate_values.items() if e <= rung}
    if trial.state not in ("done", "pruned", "diverged", "late") or not known:
        return None
    return known[max(known)]
