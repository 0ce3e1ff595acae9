"""Where the doctor listens: torch's global hooks, put in place and taken away again.

Nothing here looks at a tensor. Each hook calls one method of the host, guarded: an error in
the doctor is noted and the program goes on.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.modules import module as modules
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.data import dataloader


class Hooks:
    """Connects a host (enter, leave, before_backward, ...) to torch while installed."""

    def __init__(self, host: Any):
        self.host, self._undo = host, []

    def install(self) -> None:
        """Begin to listen to every module, optimizer, backward call and data loader."""
        host = self.host

        def enter(module, args):
            if not torch.compiler.is_compiling():
                host.enter(module, args)

        def leave(module, args, kwargs, result):
            if not torch.compiler.is_compiling():
                host.leave(module, args, kwargs, result)

        handles = [
            modules.register_module_forward_pre_hook(enter),
            modules.register_module_forward_hook(leave, with_kwargs=True),
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(host.after_step),
        ]
        self._undo = [handle.remove for handle in handles]
        self._patch(torch.autograd, "backward", self._backward)
        self._patch(dataloader._BaseDataLoaderIter, "__next__", self._next)

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> Any:
        # With a closure (LBFGS, Lightning) the pass happens inside the step: the gradients to
        # look at are those that stand when the closure has run for the first time.
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if not callable(closure):
            self.host.before_step(optimizer, args, kwargs)
            return None
        looked = False

        @functools.wraps(closure)
        def seen():
            nonlocal looked
            value = closure()
            if not looked:
                looked = True
                self.host.before_step(optimizer, (), {})
            return value

        if "closure" in kwargs:
            return args, {**kwargs, "closure": seen}
        return (args[0], seen, *args[2:]), kwargs

    def remove(self) -> None:
        """Leave torch as it was found."""
        while self._undo:
            self._undo.pop()()

    def _patch(self, owner: Any, name: str, wrap: Callable) -> None:
        original = getattr(owner, name)
        setattr(owner, name, wrap(original))
        self._undo.append(lambda: setattr(owner, name, original))

    def _backward(self, original: Callable) -> Callable:
        @functools.wraps(original)
        def backward(tensors, *args, **kwargs):
            if torch.compiler.is_compiling():
                return original(tensors, *args, **kwargs)
            self.host.before_backward(tensors)
            try:
                return original(tensors, *args, **kwargs)
            finally:
                self.host.after_backward()

        return backward

    def _next(self, original: Callable) -> Callable:
        @functools.wraps(original)
        def step(iterator):
            begin = time.perf_counter()
            batch = original(iterator)
            self.host.batch(iterator, batch, time.perf_counter() - begin)
            return batch

        return step
