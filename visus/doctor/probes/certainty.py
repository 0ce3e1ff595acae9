"""Is the network right where it is sure? Wrong labels contradict it there too; hard samples do not."""

from __future__ import annotations

import torch

from visus.doctor.probes.stock import DataLoss, note
from visus.doctor.signals import Signals


def read_certainty(s: Signals, place: str, steps: list[int], found: DataLoss) -> None:
    """`sure_n`, `sure_wrong`, `sure_rank`, `all_n`, `all_wrong` at `place`, of stacked passes.

    Of the third of the samples of a pass (L, N) with the largest confidence: how many contradict
    their label, and where the label then ranks among the other classes (0 the runner-up, 1 the
    last; mean over them); next to it all samples.
    """
    if len(steps) > 1 and _ignores(found):  # such batches fit no stack
        for k, step in enumerate(steps):
            read_certainty(s, place, [step], found.at(k).stacked())
        return
    read = _answers(found)
    if read is None or not read[0].numel():
        return
    sure, wrong, rank = read
    top = sure.topk(max(sure.shape[1] // 3, 1), dim=1).indices
    bad = wrong.gather(1, top).float()
    n = bad.sum(1)
    note(s, place, "sure_n", steps, [top.shape[1]] * len(steps))
    note(s, place, "sure_wrong", steps, n)
    note(s, place, "sure_rank", steps, (rank.gather(1, top) * bad).sum(1) / n.clamp_min(1))
    note(s, place, "all_n", steps, [sure.shape[1]] * len(steps))
    note(s, place, "all_wrong", steps, wrong.float().sum(1))


def _ignores(found: DataLoss) -> bool:
    # Some labels name no class: they are to be left out.
    if found.task != "classification" or found.input.ndim != 3 or found.target.is_floating_point():
        return False
    return bool(((found.target < 0) | (found.target >= found.input.shape[2])).any())


def _answers(found: DataLoss) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
    """Confidence, wrongness and rank of the label by sample (L, N); None where undefined."""
    guess, target = found.input.detach(), found.target
    if not isinstance(target, torch.Tensor) or not guess.numel() or guess.ndim < 2:
        return None
    if found.task == "classification" and guess.ndim == 3 and target.ndim == 2:
        return _classes(guess.float(), target) if guess.shape[2] > 1 else None
    if found.task != "binary" or guess.shape != target.shape or guess[0].numel() != guess.shape[1]:
        return None
    side = guess.float().flatten(1) - (0.0 if found.kind.endswith("logits") else 0.5)
    label = target.flatten(1) > 0.5
    return side.abs(), (side > 0) != label, torch.zeros_like(side)


def _classes(
    guess: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
    valid = (target >= 0) & (target < guess.shape[2])
    if len(guess) == 1 and not bool(valid.all()):
        guess, target = guess[:, valid[0]], target[:, valid[0]]
    above = (guess > guess.gather(2, target[..., None])).sum(2)
    # Logarithms of probabilities differ from logits by a constant a sample: the same softmax.
    sure = guess.log_softmax(2).amax(2)
    rank = (above - 1).clamp_min(0) / max(guess.shape[2] - 2, 1)
    return sure, guess.argmax(2) != target, rank
