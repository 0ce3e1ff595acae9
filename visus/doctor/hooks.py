"""Where the doctor listens: torch's global hooks, put in place and taken away again.

Nothing here looks at a tensor. Each hook calls one method of the host, guarded: an error in
the doctor is noted and the program goes on. Hooks on modules make every call of every module
slower, so they hang only where the host asks (`listen`): on steps that are looked at, and
from a sign of evaluation (`eval()`, `torch.no_grad()`) to its end.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as modules
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.data import dataloader

compiling = torch.compiler.is_compiling


@contextmanager
def lent(weights: list[torch.Tensor], grads: tuple) -> Iterator[None]:
    """Meanwhile each weight without a gradient of its own has the one that was computed for it."""
    bare = [(w, g) for w, g in zip(weights, grads, strict=False) if w.grad is None]
    for weight, gradient in bare:
        weight.grad = gradient
    try:
        yield
    finally:
        for weight, _ in bare:
            weight.grad = None


class Hooks:
    """Connects a host (enter, leave, before_backward, ...) to torch while installed."""

    def __init__(self, host: Any):
        self.host, self._undo = host, []
        self.listening = False
        self._keys: tuple[int, int] | None = None

    def install(self) -> None:
        """Begin to listen to modules, optimizers, backward calls and data loaders."""
        handles = [
            modules.register_module_forward_pre_hook(self._enter),
            modules.register_module_forward_hook(self._leave, with_kwargs=True),
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self.host.after_step),
        ]
        self._undo = [handle.remove for handle in handles]
        self._keys, self.listening = (handles[0].id, handles[1].id), True
        self._patch(torch.autograd, "backward", self._backward)
        self._patch(torch.Tensor, "backward", self._before_backward)
        self._patch(torch.autograd, "grad", self._grad)
        self._patch(dataloader._BaseDataLoaderIter, "__next__", self._next)
        self._patch(nn.Module, "train", self._train)
        for context in (torch.no_grad, torch.inference_mode, torch.set_grad_enabled):
            self._patch(context, "__enter__", self._without)
            self._patch(context, "__exit__", self._again)

    def remove(self) -> None:
        """Leave torch as it was found."""
        self.listening, self._keys = False, None
        while self._undo:
            self._undo.pop()()

    def listen(self, on: bool) -> None:
        """Hang the hooks on modules, or take them off."""
        if on == self.listening or self._keys is None:
            return
        self.listening, (pre, post) = on, self._keys
        if on:
            modules._global_forward_pre_hooks[pre] = self._enter
            modules._global_forward_hooks[post] = self._leave
        else:
            modules._global_forward_pre_hooks.pop(pre, None)
            modules._global_forward_hooks.pop(post, None)

    def _patch(self, owner: Any, name: str, wrap: Callable) -> None:
        original = getattr(owner, name)
        inherited = name not in vars(owner)
        setattr(owner, name, wrap(original))
        undo = functools.partial(setattr, owner, name, original)
        self._undo.append(functools.partial(delattr, owner, name) if inherited else undo)

    def _enter(self, module: Any, args: Any) -> None:
        if not compiling():
            self.host.enter(module, args)

    def _leave(self, module: Any, args: Any, kwargs: Any, result: Any) -> None:
        if not compiling():
            self.host.leave(module, args, kwargs, result)

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> Any:
        # With a closure (LBFGS, Lightning) the pass happens inside the step: the gradients to
        # look at are those that stand when the closure has run for the first time.
        host = self.host
        if not host.awake and host.tape is None and id(optimizer) in host.optimizers:
            return None
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if not callable(closure):
            host.before_step(optimizer, args, kwargs)
            return None
        looked = False

        @functools.wraps(closure)
        def seen():
            nonlocal looked
            value = closure()
            if not looked:
                looked = True
                host.before_step(optimizer, (), {})
            return value

        if "closure" in kwargs:
            return args, {**kwargs, "closure": seen}
        return (args[0], seen, *args[2:]), kwargs

    def _backward(self, original: Callable) -> Callable:
        host = self.host

        @functools.wraps(original)
        def backward(tensors, *args, **kwargs):
            if compiling() or host.doze(tensors):
                return original(tensors, *args, **kwargs)
            host.before_backward(tensors)
            try:
                return original(tensors, *args, **kwargs)
            finally:
                host.after_backward()

        return backward

    def _before_backward(self, original: Callable) -> Callable:
        # Once torch has handed the call to the recorder it cannot be taken off any more.
        recorder = self.host.recorder

        @functools.wraps(original)
        def backward(tensor, *args, **kwargs):
            if recorder.active and not compiling():
                recorder.off()
            return original(tensor, *args, **kwargs)

        return backward

    def _grad(self, original: Callable) -> Callable:
        """`grads = torch.autograd.grad(loss, weights)` of a program without an optimizer."""
        host = self.host

        @functools.wraps(original)
        def grad(outputs, inputs, *args, **kwargs):
            weights = [inputs] if isinstance(inputs, torch.Tensor) else [*inputs]
            plain = not args and not set(kwargs) - {"allow_unused", "retain_graph"}
            if compiling() or not plain or not host.by_grad(outputs, weights):
                return original(outputs, inputs, *args, **kwargs)
            host.recorder.off()
            host.before_backward(outputs)
            found: tuple = ()
            try:
                found = original(outputs, inputs, **kwargs)
            finally:
                with lent(weights, found):
                    host.after_backward()
            return found

        return grad

    def _next(self, original: Callable) -> Callable:
        clock, host = time.perf_counter, self.host

        @functools.wraps(original)
        def step(iterator):
            begin = clock()
            if host.want:  # how a batch is put together is no part of what the program compares
                host.deaf()
            try:
                batch = original(iterator)
            finally:
                if host.want:
                    host.hear()
            host.batch(iterator, batch, clock() - begin)
            return batch

        return step

    # -- signs of an evaluation, on which the host may begin to listen
    def _train(self, original: Callable) -> Callable:
        host = self.host

        @functools.wraps(original)
        def train(module, mode=True):
            if not compiling():
                host.turn(mode)
            return original(module, mode)

        return train

    def _without(self, original: Callable) -> Callable:
        host = self.host

        @functools.wraps(original)
        def enter(context):
            value = original(context)
            if not compiling() and not torch.is_grad_enabled():
                host.deaf() if host.bare is not None else host.turn(False)
            return value

        return enter

    def _again(self, original: Callable) -> Callable:
        host = self.host

        @functools.wraps(original)
        def leave(context, *args):
            value = original(context, *args)
            if not compiling() and torch.is_grad_enabled():
                host.hear() if host.bare is not None else host.back()
            return value

        return leave
