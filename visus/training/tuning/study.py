"""`Tuning`: trials from an Optuna study, one after another, until enough or no more time.

The study lives in a database: SQLite in the folder, or a URL that many processes and machines
share. Whoever works on it takes the next trial, so that stopping, going on and helping along are
the same thing. What a trial draws is a function of (seed, number of the trial, what was found so
far). The ledger gets one line a finished trial, also of those that others finished.

    trials      TPE (Bergstra et al. 2011) over all keys together; the first is the plain recipe
    halving     each recipe is trained for a ninth of the epochs, the best third for a third of
                them, the best third of those for all (asynchronous successive halving: Li et al.
                2020, MLSys)
    finals      the plain recipe and the two best run again from fresh seeds: the best of many is
                partly luck, and only a second run tells how much
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from visus.data import steps_per_epoch
from visus.errors import RunError, UsageError
from visus.ledger import Ledger, select
from visus.ledger import read as read_ledger
from visus.training.automatic import settle
from visus.training.plan import usual_epochs
from visus.training.reading import validate
from visus.training.recipe import Recipe
from visus.training.seeds import mix
from visus.training.signals import on_signal
from visus.training.tuning import storage
from visus.training.tuning.attempt import Outcome, attempt, blind, rank
from visus.training.tuning.dimension import Tree, put
from visus.training.tuning.results import Trial, finals, result, trials_of
from visus.training.tuning.space import Space

FINALISTS, HOPELESS = 2, 5
ALIVE = 20.0  # seconds between signs of life of a running trial
PLAIN = {"role": "default", "plain": True}  # the recipe as it is without tuning


class Tuning:
    """A search around the recipe `given` on `dataset`; `run()` carries it out.

    `trials` is how many there shall be in the whole study, `seconds` how long this process works
    on it; without either 20 trials. `finals` is the number of fresh seeds for the finalists.
    Raises `UsageError` where nothing can be tuned.
    """

    def __init__(
        self, given: Tree, dataset: Any, ledger: Ledger, *, url: str, name: str,
        trials: int | None = None, seconds: float | None = None, vary: tuple[str, ...] = (),
        finals: int = 2,
    ):  # fmt: skip
        if not len(dataset.validation):
            raise UsageError(
                "tune: there are no validation images to choose by; give some, or a share of "
                "train with --set data.validation=0.1"
            )
        self.dataset, self.ledger = blind(dataset), ledger
        base = settle(validate(given), dataset)
        self.epochs = _epochs(base, len(dataset.train))
        self.space = Space(given, self.dataset, vary)
        self.seed, self.rounds = base.seed, finals
        self.rungs = _rungs(self.epochs)
        self.wish = 20 if trials is None and seconds is None else trials
        self.began, self.seconds = time.monotonic(), seconds
        self.optuna = storage.quiet_optuna()
        self.study = storage.open_study(url, name, self.rungs[0])
        self.stopping, self.machine, self._sign, self.made = "", {}, 0.0, 0
        self._seen = {line.get("number") for line in select(_lines(ledger), "tuning-trial")}
        self._begin(url, name)

    def run(self) -> dict[str, Any]:
        """Work until the study is complete, the time is over or somebody stops it.

        Returns the facts of a `tuning-result` line. Raises `VisusError` where the plain
        recipe does not work, or nothing else does.
        """
        with on_signal(self.stop):
            for job in self._jobs():
                self._do(job)
                self._note()
        self._note()
        return result(self.trials(), self.space, self.rungs[0], self.rounds)

    def stop(self, reason: str = "stopped") -> None:
        """End before the next step; the trial at work is put back."""
        self.stopping = reason

    def trials(self) -> list[Trial]:
        """All trials of the study, with what was written about them."""
        return trials_of(self.study)

    def recipe(self, values: dict[str, Any]) -> Tree:
        """The keys of a recipe with these tuned values, ready to be written."""
        tree = self.space.filled(values)
        put(tree, "training.epochs", self.epochs)
        return tree

    def _begin(self, url: str, name: str) -> None:
        storage.revive(self.study)
        params = self.space.draw(self.space.default)
        params = {key: value for key, value in params.items() if value is not None}
        if not self.study.get_trials(deepcopy=False):
            self.study.enqueue_trial(params, user_attrs=PLAIN, skip_if_exists=True)
        self.ledger.write(
            "study", name=name, storage=storage.shown(url), epochs=self.epochs, rungs=self.rungs,
            trials=self.wish, finals=self.rounds, done=sum(t.finished for t in self._counted()),
            space=[dimension.facts() for dimension in self.space.dimensions],
        )  # fmt: skip

    # Which trial is next.

    def _jobs(self) -> Iterator[Any]:
        """Trials to do: those put back, new ones, and at the end the finals."""
        while not self.stopping and self._left() > 0:
            waiting = [t for t in self.trials() if t.state == "waiting"]
            if waiting or self._searching():
                yield self._ask()
            elif self._elsewhere():
                time.sleep(0.5)  # the finals need what others are at work on
            elif not self._call_finals() and not self._elsewhere():
                return  # looked twice: another process may have called them in between

    def _elsewhere(self) -> bool:
        storage.revive(self.study)
        return any(t.state in ("running", "waiting") for t in self.trials())

    def _searching(self) -> bool:
        if self.wish is not None and len(self._counted()) >= self.wish:
            return False
        # With a time limit some of it is kept for the finals, at the pace of the trials so far.
        full = [t.seconds for t in self.trials() if t.state == "done"]
        need = (FINALISTS + 1) * self.rounds * max(full, default=0.0)
        return self._left() > min(need, 0.4 * (self.seconds or 0.0))

    def _counted(self) -> list[Trial]:
        """The trials that count toward those wished for: not the finals, not those put back."""
        return [t for t in self.trials() if t.role != "final" and t.state != "interrupted"]

    def _left(self) -> float:
        if self.seconds is None:
            return float("inf")
        return self.seconds - (time.monotonic() - self.began)

    def _call_finals(self) -> bool:
        """Put the finals on the list, once; whether there were any to put."""
        trials = self.trials()
        if not self.rounds or any(t.role == "final" for t in trials):
            return False
        called = finals(trials, FINALISTS)
        for seed in range(1, self.rounds + 1) if len(called) > 1 else ():
            for one in called:
                attrs = {"role": "final", "of": one.number, "seed": seed}
                attrs |= {"plain": True} if one.role == "default" else {}
                self.study.enqueue_trial(one.params, user_attrs=attrs)
        return len(called) > 1

    def _ask(self) -> Any:
        # The sampler holds no state of its own: what it draws follows from what is known.
        self.study.sampler = storage.sampler(mix(self.seed, len(self.study.get_trials(False))))
        job = self.study.ask()
        self.study.sampler = storage.sampler(mix(self.seed, job.number))
        return job

    # One trial.

    def _do(self, job: Any) -> None:
        storage.sign(job)
        self._sign, attrs = time.monotonic(), job.user_attrs
        role, plain = attrs.get("role", "search"), bool(attrs.get("plain"))
        answers = self.space.draw(lambda dimension: storage.suggest(job, dimension))
        tree, values = self.space.recipe({} if plain else answers)
        found = self._attempt(job, self._whole(tree, attrs.get("seed")), role)
        self.made += found.state != "interrupted"
        if plain and found.recipe is not None:
            values = self.space.read(found.recipe, answers)  # what each "auto" became
        facts = vars(found) | {"recipe": None, "role": role, "values": values}
        facts |= {key: attrs[key] for key in ("of", "seed") if key in attrs}
        job.set_user_attr("facts", facts)
        self._tell(job, found)
        self._judge(role, found)

    def _attempt(self, job: Any, tree: Tree, role: str) -> Outcome:
        def report(value: float, epochs: int) -> bool:
            job.report(value, epochs)
            return not job.should_prune() or role != "search"

        budgets, pause = [self.epochs] if role == "final" else self.rungs, self._pause(job)
        try:
            return attempt(tree, self.dataset, budgets, report=report, pause=pause, on=self._learn)
        except BaseException:
            storage.put_back(self.study, job)
            raise

    def _whole(self, tree: Tree, seed: int | None) -> Tree:
        """The tuned keys with those that are the same in all trials."""
        for key, value in self.machine.items():
            put(tree, key, value)
        if seed is not None:
            put(tree, "seed", mix(self.seed, seed) % 2**31)
        return tree

    def _learn(self, recipe: Recipe) -> None:
        """What suits this machine is found out by the first trial, for all."""
        how = recipe.training
        self.machine = {"training.threads": how.threads, "training.precision": how.precision}

    def _pause(self, job: Any) -> Callable[[], str]:
        def pause() -> str:
            if time.monotonic() - self._sign > ALIVE:
                self._sign = time.monotonic()
                storage.sign(job)
            return "interrupted" if self.stopping else "late" if self._left() <= 0 else ""

        return pause

    def _tell(self, job: Any, found: Outcome) -> None:
        state = self.optuna.trial.TrialState
        if found.state == "interrupted":
            self.stopping = self.stopping or "interrupted"
            storage.put_back(self.study, job)
        elif found.state == "done" and found.error is not None and found.loss is not None:
            self.study.tell(job, rank(found.error, found.loss, len(self.dataset.validation)))
        else:
            # Pruned, and not failed: the sampler shall learn from a rate that was too large.
            self.study.tell(job, state=state.FAIL if found.state == "failed" else state.PRUNED)

    def _judge(self, role: str, found: Outcome) -> None:
        """End a study in which nothing works."""
        if found.state == "failed" and role == "default":
            raise RunError(f"tune: the recipe itself does not train: {found.reason}")
        last = [t for t in self._counted() if t.finished][-HOPELESS:]
        if len(last) == HOPELESS and all(t.state == "failed" for t in last):
            raise RunError(
                f"tune: the last {HOPELESS} trials failed; the last one: {found.reason}; fix what "
                "it names with --set, or vary other keys with --vary"
            )

    def _note(self) -> None:
        """A ledger line for each finished trial that has none yet."""
        for one in self.trials():
            if one.finished and one.number not in self._seen:
                self._seen.add(one.number)
                self.ledger.write("tuning-trial", **one.line())


def _lines(ledger: Ledger) -> list[dict[str, Any]]:
    on_disk = ledger.path is not None and ledger.path.exists()
    return read_ledger(ledger.path) if on_disk and ledger.path else ledger.lines


def _epochs(recipe: Any, images: int) -> int:
    """Epochs of a whole trial: the recipe's, or as many as `visus train` would take."""
    if recipe.training.time_limit:
        raise UsageError(
            "tune: trials are compared after equal epochs, and training.time_limit would cut them; "
            "leave it out, --time-limit is that of the whole search"
        )
    if recipe.training.epochs != "auto":
        return recipe.training.epochs
    return usual_epochs(steps_per_epoch(images, int(recipe.training.batch_size)))


def _rungs(epochs: int) -> list[int]:
    """The epochs of the trainings of a trial: about a ninth, a third, all."""
    first = max(1, round(epochs / 9))
    return [*(rung for rung in (first, 3 * first) if rung < epochs), epochs]
