"""The host: follows a running program and hands what it sees to the probes.

It finds networks by their forward calls, optimizers by their steps, losses by `backward`,
evaluation by forward calls without gradients. It only reads; experiments run on a shadow.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from visus.doctor.attention import Attention, compiled, guarded
from visus.doctor.bare import BareHost
from visus.doctor.byhand import ByHand
from visus.doctor.clock import HOOK_SECONDS, OP_SECONDS, Clock
from visus.doctor.hooks import Hooks
from visus.doctor.names import Names, unwrap
from visus.doctor.probes import Probe
from visus.doctor.schedule import Schedule
from visus.doctor.shadow import Shadow
from visus.doctor.signals import Signals
from visus.doctor.stages import Stages
from visus.doctor.tape import Recorder, Score, Tape, tensors
from visus.doctor.ticks import Enough, Tick, Ticking

KEEP = 12  # tapes kept for experiments, of training and of evaluation each


class Host(BareHost, Attention, Ticking, Stages):
    """State of one watch. `rules` decides which probes are attached."""

    def __init__(self, asks: set[str], share: float = 0.02, max_steps: int | None = None):
        self.signals, self.names, self.clock = Signals(), Names(), Clock()
        self.schedule = Schedule(share)
        self.recorder, self.hooks = Recorder(self.note), Hooks(self)
        self.thread, self.busy, self.max_steps = threading.get_ident(), False, max_steps
        self.errors: list[str] = []
        self.depth, self.path, self.in_backward = 0, [], False
        self.want = False  # is the recorder to listen to the program now?
        self.awake = True  # is this step looked at (its losses at least)?
        self.pinned = False  # True: hooks stay on modules (to change them would recompile)
        self.record: Any = None  # ledger lines are written by it, where a ledger is kept
        self.judge: Callable[[], list[dict[str, Any]]] = list  # findings from what was seen so far
        self.muted = -1  # the step after which enough evaluation was seen
        self.losses: list[Any] = []  # of the backward calls since the last step
        self.tape: Tape | None = None
        self.optimizers: dict[int, Any] = {}
        self.hand = ByHand(self.names)
        self.counts: dict[int, int] = {}
        self.backwards = 0
        self.step = 0
        self.over = False
        self.scores: list[tuple[Score, dict]] = []
        self.spare = False
        self.views: list[tuple[Score, dict]] = []
        self._shadow: Shadow | bool | None = None
        self._has: dict[int, bool] = {}
        self.looked = -1
        self.last_batch: Any = None
        self.ticks: list[Tick] = []  # not yet told to the probes
        self.waited, self.loads, self.iterator = 0.0, 0, 0  # seconds for, number, giver of batches
        self.asks, self.since, self.past = asks, 0, []
        self.attach()

    # ------------------------------------------------------------------ bookkeeping
    def add(self, probe: Probe) -> None:
        """Attach a probe; only the events it listens to are sent to it."""
        self.probes.append(probe)
        for event, plain in vars(Probe).items():
            if callable(plain) and getattr(type(probe), event) is not plain:
                self.routes.setdefault(event, []).append((probe, getattr(probe, event)))

    def tell(self, event: str, *args: Any) -> None:
        """Send an event to the probes that listen to it, each on its own responsibility."""
        for probe, method in self.routes.get(event, ()):
            try:
                method(*args)
            except Exception as error:
                self.fault(f"{probe.name}.{event}", error)

    def start(self) -> None:
        """Begin to watch."""
        self.compiled = compiled()
        self.hooks.install()

    def stop(self) -> None:
        """Stop to watch; the program's torch is as it was."""
        self.want = False
        self.recorder.off()
        self.hooks.remove()
        self.clock.stop()

    def shadow(self) -> Shadow | None:
        """The copy for experiments, in step with the program; None where it cannot be made."""
        if self._shadow is None:
            try:
                self._shadow = Shadow(self.names)
            except Exception as error:
                self.fault("shadow", error)
                self._shadow = False
        if isinstance(self._shadow, Shadow):
            if self._shadow.outdated(self.names):
                self._shadow = Shadow(self.names)
            self._shadow.follow()
            return self._shadow
        return None

    def forgo(self) -> None:
        """No experiments: the copy cannot run (a network may live on hooks of its own)."""
        self._shadow = False

    def _network(self, module: nn.Module) -> bool:
        key = id(module)
        if key not in self._has:
            self._has[key] = next(iter(module.parameters()), None) is not None
        return self._has[key]

    # ------------------------------------------------------------------ forward
    def enter(self, module: nn.Module, args: Any) -> None:
        """A module is about to run."""
        if self.busy or self.in_backward or threading.get_ident() != self.thread:
            return
        self.clock.spent += 2 * HOOK_SECONDS  # this call and its `leave`
        if self.depth:
            self.depth += 1
            if self.tape is not None and self.tape.full:
                self.path.append(module)
            return
        if self._network(module) and (self.awake or self._whole(module)):
            self._open(module, args)
        else:
            self.depth, self.path = 0, []

    def _whole(self, module: nn.Module) -> bool:
        # Asleep, the doctor may wake up inside a network (a backbone under `no_grad`): its
        # parts are no networks of their own.
        return not self.names.knows(module) or any(module is root for root in self.names.roots)

    @guarded
    def _open(self, module: nn.Module, args: Any) -> None:
        self.depth, self.path = 1, [module]
        grad = torch.is_grad_enabled()
        if grad and self.hand.sure:
            self._hand_step()
        if self.tape is not None and self._apart(module, args):
            self._view()
        self.names.root(module)
        if self.tape is None:
            level = self.level(grad)
            self.tape = Tape(self.step, grad, level == 2) if level else None
            if level == 2:
                self.schedule.open()
        self.want = self.tape is not None and self.tape.full and not hasattr(module, "_orig_mod")
        if self.tape is not None:
            self.tape.enter()
            self.tape.training.setdefault(id(unwrap(module)), module.training)
        self.tell("forward", module, self.tape, grad)

    def _apart(self, module: nn.Module, args: Any) -> bool:
        # Does this call begin a pass of its own? Without gradients, unless it goes on with what
        # another gave (a body, then a head); with them, several networks (or calls) feed one loss.
        assert self.tape is not None
        if not self.tape.grad:
            made = self.tape.derived()
            return not any(id(t) in made for t in tensors(args))
        calls = len(self.tape.roots())
        return torch.is_grad_enabled() and (calls >= 6 or (calls >= 1 and not module.training))

    def leave(self, module: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        """A module has run."""
        if not self.depth or self.busy or self.in_backward:
            return
        if threading.get_ident() != self.thread:
            return
        self.depth -= 1
        if self.path:
            self.path.pop()
        if self.depth == 0 and self.tape is not None:
            self.want = True
            self._close(module, args, kwargs, result)

    @guarded
    def _close(self, module: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        assert self.tape is not None
        self.tape.add("network", module, args, kwargs, result)
        self.tell("output", self.tape, module, args, result)

    def note(self, name: str, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        """The recorder saw a torch call."""
        tape = self.tape
        if self.busy or tape is None or self._aside(tape):
            return
        self.clock.spent += OP_SECONDS
        if tape.full:
            self.schedule.call(name, args, kwargs, result)
        if self.depth == 0:
            if len(tape.entries) < 400 and name != "attribute":
                tape.add(name, func, args, kwargs, result)
            if self.bare is not None and tape.full:
                self._layer(name, args, kwargs, result)
        elif tape.full:
            self._layer(name, args, kwargs, result)

    def _layer(self, name: str, args: Any, kwargs: Any, result: Any) -> None:
        # Called from inside the recorder, which torch has set aside already.
        self.busy = True
        with self.clock.count(), torch.no_grad():
            self.tell("op", name, args, kwargs, result)
        self.busy = False

    # ------------------------------------------------------------------ evaluation
    def _view(self) -> None:
        # A pass without backward is over: what did it compare with what?
        tape, self.tape, self.want = self.tape, None, False
        if tape is not None and tape.entries:
            with torch.no_grad():
                self.tell("view", tape)

    # ------------------------------------------------------------------ backward
    def doze(self, loss: Any) -> bool:
        """The program calls backward: in a step not looked at its loss is noted, that is all."""
        if self.awake or self.pinned or self.hand.sure or self.tape is not None:
            return False
        if self.busy or not self.counts or threading.get_ident() != self.thread:
            return False
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or not loss.is_cpu:
            return False
        value = loss.item()
        if not math.isfinite(value):
            return False
        self.losses.append(value)
        self.backwards += 1
        return True

    def before_backward(self, tensors: Any) -> None:
        """The program calls backward on `tensors`."""
        if self.busy or threading.get_ident() != self.thread:
            return
        loss = tensors if isinstance(tensors, torch.Tensor) else next(iter(tensors), None)
        if not self.names.roots:
            self._meet(loss)
        if self.hand.due:
            self._hand_step()
        elif not self.counts or self.hand.sure:
            self._hand_stepped()
        value: Any = 0.0
        if loss is not None and loss.numel() == 1:
            # On an accelerator the number is fetched later: fetching it waits for the device.
            value = loss.item() if loss.device.type == "cpu" else loss.detach()
            self.losses.append(value)
        self.backwards += 1
        self.in_backward = True
        broke = type(value) is float and not math.isfinite(value)
        if self.awake or (broke and "broken" not in self.signals.facts):
            self._backward(loss)
        elif self.tape is not None:
            self._shut()

    @guarded
    def _backward(self, loss: Any) -> None:
        self.want, self.depth = False, 0
        tape, self.tape = self.tape, None
        self._met(tape)
        with torch.no_grad():
            self.tell("backward", loss, tape if tape is not None and tape.grad else None)
            if tape is not None and tape.full and self._compiled(tape):
                self._layers_of_compiled(tape)
        if tape is not None and tape.full:
            self.schedule.close(sum(len(list(root.parameters())) for root in self.names.roots))

    @staticmethod
    def _compiled(tape: Tape) -> bool:
        return any(hasattr(entry.func, "_orig_mod") for entry in tape.roots())

    def _layers_of_compiled(self, tape: Tape) -> None:
        # A compiled network shows no layers: its pass is played once more on the eager copy.
        shadow = self.shadow()
        if shadow is None or not self.scores:
            return
        self.names.alias(zip(shadow.copies, shadow.originals, strict=True))
        self.tape, self.path = tape, [shadow.originals[-1]]
        listener = Recorder(self._eager)
        listener.on()
        try:
            shadow.play(self.scores[-1][0])
        finally:
            listener.off()
            self.tape, self.path = None, []

    def _eager(self, name: str, func: Any, *call: Any) -> None:
        self.schedule.call(name, *call)
        self.tell("op", name, *call)

    def after_backward(self) -> None:
        """Backward is done."""
        self.in_backward = False
        by_hand = (not self.counts or self.hand.sure) and not self.busy
        if by_hand and (self.awake or not self.hand.foreseen()):
            self._hand_note()
        if self.bare is not None and (self.hand.sure or not self.optimizers):
            self._listen_bare()

    # ------------------------------------------------------------------ no optimizer
    @guarded
    def _hand_note(self) -> None:
        with torch.no_grad():
            self.hand.note(self.awake)
            if self.hand.sure and self.awake:
                self.tell("before_step", self.hand)

    @guarded
    def _hand_stepped(self) -> None:
        self._hand_step()

    def _hand_step(self) -> None:
        if self.optimizers and not self.hand.sure:
            return
        if self.hand.due:
            self.hand.due = False
            self._hand_tick()
            return
        with torch.no_grad():
            if not self.hand.stepped():
                return
            if self.hand.sure and self.awake:
                self.tell("after_step", self.hand)
            self.hand.sure = self.pinned = True
            self.optimizers[id(self.hand)] = self.hand
            self._hand_tick()

    def _hand_tick(self) -> None:
        self._tick(self.hand)
        if self.max_steps is not None and self.step >= self.max_steps:
            self.over = True
            raise Enough

    def keep(
        self, tape: Tape, goals: list[torch.Tensor], facts: dict, *, view: bool = False
    ) -> None:
        """Keep a tape for experiments (the first ones and the newest)."""
        if any(entry.name in ("grad", "backward") for entry in tape.entries):
            return  # a pass that differentiates inside itself cannot be played without a graph
        if not view and not tape.full and len(self.scores) == KEEP:
            self.spare = not self.spare
            if self.spare:
                return  # every other one of the newest will do
        own = {id(t) for root in self.names.roots for t in (*root.parameters(), *root.buffers())}
        store = self.views if view else self.scores
        store.append((Score(tape, goals, own), facts))
        if len(store) > KEEP:
            store.pop(2)

    # ------------------------------------------------------------------ optimizer
    def before_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """An optimizer is about to step."""
        if self.awake or self.tape is not None or id(optimizer) not in self.optimizers:
            self._before(optimizer)

    @guarded
    def _before(self, optimizer: Any) -> None:
        if self.tape is not None:
            self._view()
        self.depth = 0
        self.meet(optimizer)
        if self.awake:
            with torch.no_grad():
                self.tell("before_step", optimizer)

    # ------------------------------------------------------------------ data, end
    def batch(self, iterator: Any, batch: Any, seconds: float) -> None:
        """A data loader gave a batch after `seconds` of waiting."""
        if not self.busy and threading.get_ident() == self.thread:
            self.last_batch = batch
            self.waited, self.loads = self.waited + seconds, self.loads + 1
            if self.iterator != id(iterator):
                self.iterator = id(iterator)
                self.tell("loader", iterator)

    @guarded
    def after_crash(self, trace: Any) -> None:
        """The program stopped with an exception: `trace` may hold the guilty arguments."""
        with torch.no_grad():
            self.tell("crash", trace)

    @guarded
    def finish(self) -> None:
        """The program has ended: last readings, then experiments where they are called for."""
        self._view()
        self.settle()
        for probe in self.probes:
            try:
                probe.end()
            except Exception as error:
                self.fault(f"{probe.name}.end", error)
