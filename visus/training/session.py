"""A session carries a run out: from a recipe and a data set to a trained model in a folder.

    session = Session(recipe, dataset, folder, ledger)
    for step in session.run():      # one optimizer step an item; stop, look or fork in between
        ...
    model = session.best()

The folder gets `recipe.toml` (every "auto" resolved), checkpoints, `best.safetensors` and, at
the end, `model.safetensors` with `model.json`. A session on a folder that holds checkpoints goes
on from the newest sound one, and ends with the weights, bit for bit, of a run never stopped.

Ledger lines written here: environment, recipe, model, threads, range-test, plan, step, epoch,
checkpoint, resume, stop.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from visus import files
from visus.errors import RunError
from visus.ledger import Ledger
from visus.training import checkpoint, distributed, machine, probes
from visus.training.automatic import settle
from visus.training.budget import JUDGING, Budget
from visus.training.building import make_classifier, make_feed, make_state, settle_layout
from visus.training.evaluate import evaluate
from visus.training.judge import Judge, better
from visus.training.plan import Clock, Plan, rate_of
from visus.training.reading import differences, load_recipe
from visus.training.recipe import Recipe
from visus.training.record import Pulse, describe
from visus.training.signals import on_signal
from visus.training.steps import Step, steps
from visus.training.trained import Trained, facts_of, save_trained

RECIPE, BEST = "recipe.toml", "best"


class Session:
    """One training, fresh or resumed. `folder=None` keeps everything in memory.

    `recipe=None` takes the recipe of the folder. `model` is a module of the caller's in place
    of the recipe's. `clock` has the seconds of the time limit that are used up already; `closing`
    images are looked at after the training, where the limit allows, beside those of the vault.
    Raises `RunError` where the folder holds a run of another recipe or of other data.
    """

    def __init__(
        self, recipe: Recipe | None, dataset: Any, folder: str | Path | None = None,
        ledger: Ledger | None = None, *, model: nn.Module | None = None,
        device: torch.device | str | None = None, clock: Clock | None = None, closing: int = 0,
    ):  # fmt: skip
        machine.keep_pages()
        self.world, self.dataset = distributed.join(), dataset
        self.folder = Path(folder) if folder is not None else None
        self.ledger = ledger if ledger and self.world.main else Ledger()
        self.device = torch.device(device) if device else machine.choose_device()
        self.world.agree(None)  # nobody reads before all that was to be written is there
        held = checkpoint.newest(self.folder) if self.folder else None
        self.recipe = settle(_recipe(recipe, self.folder), dataset)
        facts = held[1] if held else {}
        self.clock = clock or Clock(facts.get("seconds", 0.0))
        self._build(model, facts, closing)
        self.plan = Plan(0, self.feed.per_epoch)
        self.best_facts: dict[str, Any] | None = None
        self._best: dict[str, Tensor] = {}
        self.stopping = self.finished = ""
        self.waited, self.judged_at = 0, -1
        if held:
            self._resume(*held)
        self.world.agree(None)  # nobody writes before all have read

    def run(self) -> Generator[Step, None, None]:
        """Train to the end, one step an item; what an item sees is a state that could be kept.

        `self.finished` then holds the reason: done, early-stopping or time-limit. A signal,
        `stop(reason)` or a consumer that leaves early leave a checkpoint to go on from.
        """
        with on_signal(self.stop):
            if self.plan.steps == 0:
                self._start()
            if self.plan.steps == 0:
                self.ledger.write("stop", reason=self.stopping, step=0)
                return
            self._set_off()
            loop = steps(self.state, self.feed, lambda at: self.rate(self.plan.done(at)))
            try:
                while not (reason := self._reason()):
                    step = next(loop)
                    self._after(step)
                    yield step
            except GeneratorExit:
                self.save()
                raise
            self._finish(reason)

    def stop(self, reason: str = "stopped") -> None:
        """End before the next step, with a checkpoint."""
        self.stopping = reason

    @property
    def step(self) -> int:
        """Steps done."""
        return self.state.step

    @property
    def interrupted(self) -> bool:
        """Whether the run was stopped before its end, so that it can go on."""
        return bool(self.stopping) and not self.finished

    def metrics(self) -> dict[str, Any]:
        """The numbers of the best epoch, the steps done and the seconds spent."""
        best = self.best_facts or {}
        keys = ("epoch", "train_loss", "train_error", "validation_loss", "validation_error")
        found = {key: best[key] for key in keys if key in best}
        return found | {
            "steps": self.step,
            "seconds": self.clock(),
            "stop": self.finished or self.stopping,
        }

    @property
    def model(self) -> nn.Module:
        """The model that trains: float images `(N, C, H, W)` in [0, 1] to logits `(N, K)`."""
        return self.state.model

    def best(self) -> Trained:
        """The best model on validation so far (the average, with EMA), else the present one."""
        model = Trained(copy.deepcopy(self.state.judged.network), self.facts)  # type: ignore[arg-type]
        model.to(self.device)
        if weights := self._best_weights():
            model.load_state_dict(weights)
        model = model.eval().requires_grad_(True)
        if model.task.chooses and len(self.dataset.validation):
            model.task.settle(evaluate(model, self.dataset.validation))
            model.facts = model.facts | {"task": model.task.described()}
        return model

    def exchange(self, model: Trained, error: float) -> None:
        """Put `model`, of the same network, in the place of the best one of a finished run."""
        weights = model.state_dict()
        self.best_facts = (self.best_facts or {}) | {"validation_error": error}
        self._best = checkpoint.clones(weights)
        if self.folder and self.world.main:
            checkpoint.write(self.folder / BEST, weights, self.best_facts)
            model = self.best()
            model.facts["metrics"] = self.metrics()
            save_trained(self.folder, model)
            self.save()

    # How a run begins, goes on and ends.

    def _build(self, network: nn.Module | None, facts: dict[str, Any], closing: int) -> None:
        recipe, data = self.recipe, self.dataset
        model, fresh = make_classifier(recipe, data, network, weights=not facts)
        self.recipe = recipe = settle_layout(recipe, model)
        self.fresh = facts.get("fresh", fresh)
        self.facts = facts_of(
            recipe, data, model.mean.flatten().tolist(), model.std.flatten().tolist()
        )
        self.state = make_state(recipe, model, self.fresh, self.device, self.world, data)
        self.feed = make_feed(recipe, data, self.device, self.world)
        apart = recipe.training.quarantine
        self.judge = Judge(data, self.state.criterion, recipe.seed, batch_size=256, left_out=apart)
        limit, vault = recipe.training.time_limit, len(getattr(data, "vault", ()) or ())
        self.budget = Budget(limit, self.clock, self.judge, vault, closing)

    def _start(self) -> None:
        """Settle what only time and the machine can tell, and put it on record."""
        recipe, state, feed, ledger = self.recipe, self.state, self.feed, self.ledger
        describe(ledger, self.recipe, self.dataset, self.model)
        allowed = (recipe.training.time_limit or 1200.0) / 20
        recipe = probes.settle_threads(recipe, state, feed, ledger, allowed)
        recipe = probes.settle_precision(recipe, state, feed, allowed)
        precision = recipe.training.precision
        ledger.write("environment", **machine.environment(self.device), precision=precision)
        watch = probes.Pacer(state, 2 * allowed, self.budget.pace)
        recipe = probes.settle_rate(
            recipe, state, feed, ledger, watch, lambda: self.stopped() or watch.late()
        )
        self.budget.pace = watch.pace
        if self.stopped():
            return  # nothing is settled: the next session starts anew
        self._make_plan(recipe)
        if self.folder and self.world.main:
            self.folder.mkdir(parents=True, exist_ok=True)
            files.replace_text(self.folder / RECIPE, self.recipe.to_toml())
        ledger.write("recipe", recipe=self.recipe.tree())
        self.save()

    def _make_plan(self, recipe: Recipe) -> None:
        if recipe.training.time_limit:
            self.budget.pace = self.budget.pace or probes.step_seconds(
                self.state, self.feed, most=min(3.0, recipe.training.time_limit / 40)
            )
            self.judge.estimate(self.state.judged)
            self.judge.fit(JUDGING * recipe.training.time_limit)
        wish = probes.wished_epochs(recipe, self.feed)
        plan, reason = self.budget.plan(self.feed.per_epoch, wish)
        self.plan = Plan(**self.world.agree(plan.facts()))
        self.recipe = probes.with_training(recipe, epochs=self.plan.epochs)
        self.facts["recipe"] = self.recipe.tree()
        self._write_plan(reason)

    def _write_plan(self, reason: str) -> None:
        self.ledger.write(
            "plan", epochs=self.plan.epochs, steps=self.plan.steps, reason=reason,
            step=self.state.step, step_seconds=self.budget.pace, seconds=self.clock(),
        )  # fmt: skip

    def _resume(self, tensors: dict[str, Tensor], facts: dict[str, Any], notes: list[str]) -> None:
        if facts["data"] != self._data():
            raise RunError(
                f"run: {self.folder} was trained on other data ({facts['data']}, now "
                f"{self._data()}); give the same data or choose another --out"
            )
        self.state.set_precision(str(self.recipe.training.precision))
        self.state.load(tensors, facts)
        self.plan = Plan(**facts["plan"])
        self.best_facts, self.waited = facts["best"], facts["waited"]
        self.judged_at, self.finished = facts["judged_at"], facts["finished"]
        self.judge.take(facts.get("judged", self.judge.sizes))
        self.budget.pace, self.judge.seconds = facts["pace"], facts["judge_seconds"]
        torch.set_num_threads(int(self.recipe.training.threads))
        self.ledger.write("resume", step=self.state.step, notes=notes)

    def _data(self) -> dict[str, Any]:
        data = self.dataset
        return {
            "classes": list(data.classes),
            "train": len(data.train),
            "validation": len(data.validation),
        }

    def _set_off(self) -> None:
        self.rate, self.pulse = rate_of(self.recipe), Pulse(self.ledger)
        self.saved = self.epoch_began = time.monotonic()
        self.measured = (self.saved, self.state.step)
        if self.budget.limit and self.state.step:
            self._replan()  # time has gone by since the checkpoint
        self.model.train()

    # Between the steps.

    def _reason(self) -> str:
        """Why not to do another step; empty to go on."""
        patience = self.recipe.training.early_stopping
        if self.stopped() or self.finished:
            return self.finished or self.stopping
        if self.state.step >= self.plan.steps:
            return "time-limit" if self.plan.from_step else "done"
        if patience is not None and self.waited >= patience:
            return "early-stopping"
        over = self.budget.limit and self.state.step and self.world.agree(self.budget.over())
        return "time-limit" if over else ""

    def stopped(self) -> bool:
        """Whether this rank or another was told to stop."""
        if self.world.any(bool(self.stopping), self.device):
            self.stopping = self.stopping or "stopped on another rank"
        return bool(self.stopping)

    def _after(self, step: Step) -> None:
        self.pulse.add(step, self.plan, self.judge.seconds)
        if self.plan.ends_epoch(step.step):
            self._end_epoch()
            return
        every = self.recipe.training.checkpoint_every
        if every is not None and time.monotonic() - self.saved >= every:
            self.save()
        if self.budget.limit and self.world.agree(self.budget.due(self.measured[0])):
            self._measure()
            self._replan()

    def _end_epoch(self) -> None:
        """Evaluate, keep the best, fit the plan to the time, save."""
        state, began = self.state, self.epoch_began
        trained = time.monotonic() - began
        self._measure()
        found = self.world.agree(self.judge(state.judged) if self.world.main else {})
        best = better(found, self.best_facts)
        self.waited = 0 if best else self.waited + 1
        rate = state.optimizer.param_groups[-1]["lr"]
        line = {
            "epoch": self.plan.epoch(state.step),
            "epochs": self.plan.epochs,
            "step": state.step,
        }
        line |= found | {"seconds": time.monotonic() - began, "rate": rate, "best": best}
        line["judged"] = self.judge.sizes
        if best:
            self._keep(line)
        self.ledger.write("epoch", **line)
        self.judged_at = state.step
        self._replan()
        self.save()
        self.epoch_began = time.monotonic()
        self.measured = (self.epoch_began, state.step)
        self.pulse.pause(self.epoch_began - began - trained)

    def _measure(self) -> None:
        """Seconds a step since the last time they were measured."""
        since, at = self.measured
        self.measured = (time.monotonic(), self.state.step)
        if self.state.step > at:
            self.budget.pace = (self.measured[0] - since) / (self.state.step - at)

    def back(self, began: float) -> None:
        """Go on after what took the time since `began` (time.monotonic) and was no step."""
        if not hasattr(self, "pulse"):
            return  # it has not begun
        away = time.monotonic() - began
        self.measured = (self.measured[0] + away, self.measured[1])
        self.epoch_began += away
        self.pulse.pause(away)
        if self.budget.limit:
            self._replan()

    def _replan(self) -> None:
        if self.finished:
            return
        plan = self.budget.replan(self.plan, self.state.step)
        plan = Plan(**self.world.agree(plan.facts()))
        if plan != self.plan:
            self.plan = plan
            self._write_plan("what fits the time at the present speed")

    def _keep(self, facts: dict[str, Any]) -> None:
        self.best_facts, weights = facts, self.state.judged.state_dict()
        if self.folder and self.world.main:
            checkpoint.write(self.folder / BEST, weights, facts)
        else:
            self._best = checkpoint.clones(weights)

    def _best_weights(self) -> dict[str, Tensor]:
        if not self.folder or self.best_facts is None:
            return self._best
        try:
            return checkpoint.read(self.folder / BEST)[0]
        except RunError as error:
            self.ledger.write("note", text=f"{error}; the last weights are used")
            return {}

    def save(self) -> None:
        """Write a checkpoint of the present step."""
        self.saved = time.monotonic()
        if self.folder is None or not self.world.main:
            return
        facts = self.state.facts() | {
            "plan": self.plan.facts(), "seconds": self.clock(), "best": self.best_facts,
            "waited": self.waited, "judged_at": self.judged_at, "finished": self.finished,
            "fresh": self.fresh, "data": self._data(), "pace": self.budget.pace,
            "judge_seconds": self.judge.seconds, "judged": self.judge.sizes,
        }  # fmt: skip
        self.ledger.sync()
        path = checkpoint.save(self.folder, self.state.tensors(), facts)
        self.ledger.write("checkpoint", step=self.state.step, file=path.name)

    def _finish(self, reason: str) -> None:
        """The last evaluation, checkpoint and model file; nothing again where all is there."""
        if self.finished:
            return
        if not self.stopping and self.judged_at != self.state.step and self.state.step:
            self._end_epoch()
        if self.folder and self.world.main:
            model = self.best()
            model.facts["metrics"] = self.metrics()
            save_trained(self.folder, model)
        if not self.stopping:
            self.finished = reason
        self.save()  # last: a checkpoint that says "finished" stands beside a whole model
        self.ledger.write("stop", reason=reason, step=self.state.step, seconds=self.clock())


def _recipe(asked: Recipe | None, folder: Path | None) -> Recipe:
    """The recipe of the run in `folder` where there is one; it must be the one asked for."""
    path = folder / RECIPE if folder else None
    if path is None or not path.is_file():
        return asked or Recipe()
    held = load_recipe(path)
    if asked is not None and (other := differences(asked, held)):
        raise RunError(
            f"run: {folder} holds a run of another recipe: {other[0]}; choose another --out, or "
            f"go on as it is with --resume {folder}"
        )
    return held
