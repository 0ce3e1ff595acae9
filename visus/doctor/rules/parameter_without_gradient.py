"""The rule `parameter-without-gradient`."""

from __future__ import annotations

from visus.doctor.progress import born_sick
from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals


def layers(names: list[str]) -> str:
    """ "a.weight", "a.bias" -> "a"; at most four."""
    found = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
    return ", ".join(found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")


def cleared(s: Signals) -> bool:
    """No step had any gradient, though backward ran through a graph: it was cleared in between.

    Units that are dead from the first step on make true gradients of zero.
    """
    rows = s.facts.get("parameters", [])
    norms = s.values("optimizer", "gradient")
    reached = any(r["granted"] or (r["gradient"] and not r["asked"]) for r in rows)
    silent = len(norms) > 2 and max(norms) == 0 and not reached
    return silent and not s.facts.get("leaf_loss", True) and not born_sick(s)


@rule(asks=("updates", "loss"))
def parameter_without_gradient(s: Signals) -> Finding | None:
    """The optimizer holds parameters that backward never reaches.

    What: trainable parameters whose `.grad` was None at every recorded step.
    Why: they stay at their random start: the layer is not used in forward, or the graph is cut
    before it (`detach()`, `.data`, `torch.no_grad()`, a tensor made anew from numbers).
    How: the gradients of all parameters of the optimizer at each recorded step.
    Cure: use the layer in forward or remove it; remove the `detach()` or `no_grad()` between it
    and the loss.
    Not: frozen parameters (`requires_grad=False`) are a choice; networks that take turns (a GAN)
    count as reached when any of their steps has a gradient.
    Source: PyTorch notes, Autograd mechanics.
    """
    rows = [r for r in s.facts.get("parameters", []) if r["asked"] and r["trainable"]]
    lost = [r for r in rows if not r["granted"] and not r["gradient"]]
    if not lost or s.steps < 3 or cleared(s):
        return None
    share = sum(r["size"] for r in lost) / max(sum(r["size"] for r in rows), 1)
    where = layers([r["name"] for r in lost])
    return finding(
        "error" if share > 0.5 else "warning", 0.95, where, 0,
        f"{len(lost)} of {len(rows)} parameters of the optimizer ({share:.0%} of the weights) never got a gradient: {where}.",
        ["use these layers in forward, or remove them",
         "look for detach(), .data, .item() or torch.no_grad() between them and the loss"],
        parameters=len(lost), share=share,
    )  # fmt: skip
