"""Is the network right where it is sure? Wrong labels contradict it there too; hard samples do not."""

from __future__ import annotations

import torch

from visus.doctor.probes.losses import DataLoss
from visus.doctor.signals import Signals


def read_certainty(s: Signals, place: str, step: int, found: DataLoss) -> None:
    """`sure_n`, `sure_wrong`, `sure_rank`, `all_n`, `all_wrong` at `place`, of one pass.

    Of the third of the samples (N,) with the largest confidence: how many contradict their label, and
    where the label then ranks among the other classes (0 the runner-up, 1 the last; mean over
    them); next to it all samples.
    """
    read = _answers(found)
    if read is None or not read[0].numel():
        return
    sure, wrong, rank = read
    top = sure.topk(max(len(sure) // 3, 1)).indices
    bad = wrong[top]
    s.add(place, "sure_n", step, len(top))
    s.add(place, "sure_wrong", step, float(bad.sum()))
    s.add(place, "sure_rank", step, float(rank[top][bad].mean()) if bool(bad.any()) else 0.0)
    s.add(place, "all_n", step, len(sure))
    s.add(place, "all_wrong", step, float(wrong.sum()))


def _answers(found: DataLoss) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
    """Confidence, wrongness and rank of the label by sample (N,); None where undefined."""
    guess, target = found.input.detach(), found.target
    if not isinstance(target, torch.Tensor) or not guess.numel():
        return None
    if found.task == "classification" and guess.ndim == 2 and target.ndim == 1:
        return _classes(guess.float(), target) if guess.shape[1] > 1 else None
    if found.task != "binary" or guess.shape != target.shape or guess.numel() != len(guess):
        return None
    side = guess.float().flatten() - (0.0 if found.kind.endswith("logits") else 0.5)
    label = target.flatten() > 0.5
    return side.abs(), (side > 0) != label, torch.zeros_like(side)


def _classes(
    guess: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
    valid = (target >= 0) & (target < guess.shape[1])
    guess, target = guess[valid], target[valid]
    above = (guess > guess.gather(1, target[:, None])).sum(1)
    # Logarithms of probabilities differ from logits by a constant a sample: the same softmax.
    sure = guess.log_softmax(1).amax(1)
    return sure, guess.argmax(1) != target, (above - 1).clamp_min(0) / max(guess.shape[1] - 2, 1)
