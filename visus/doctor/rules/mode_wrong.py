"""The rule `mode-wrong`."""

from __future__ import annotations

from visus.doctor.rules import Finding, finding, rule
from visus.doctor.signals import Signals


@rule(asks=("modes", "trials", "loss"))
def mode_wrong(s: Signals) -> Finding | None:
    """Dropout or batch normalization runs in the wrong mode.

    What: the network is trained in eval mode, or evaluated in train mode; or F.dropout, called
    without `training=`, goes on in evaluation.
    Why: in eval mode dropout does nothing and batch normalization does not learn its statistics;
    in train mode a validation result is noisy, depends on the batch mates, and leaks validation
    data into the running statistics.
    How: the mode of the network at each backward, and at each pass without gradients whose
    result is compared with labels; only where it holds dropout or batch normalization.
    Cure: model.train() before each training epoch, model.eval() before each evaluation.
    Not: single layers in eval mode inside a network in train mode (a frozen backbone) are a
    choice; so is a network that serves another one (a teacher, a GAN's generator).
    Source: the pages of torch.nn.Module.train and eval; Srivastava et al. 2014 (dropout).
    """
    train, view = s.series("mode", "train"), s.series("mode", "eval")
    wrong_train = [step for step, v in train if v == 0]
    wrong_view = [step for step, v in view if v == 1]
    layers = s.facts.get("mode_layers") or [""]
    facts = {"training_passes": len(train), "training_passes_in_eval_mode": len(wrong_train),
             "evaluations": len(view), "evaluations_in_train_mode": len(wrong_view)}  # fmt: skip
    if len(wrong_train) >= 3 and len(wrong_train) > 0.3 * len(train):
        since = (
            "from the start"
            if train[0][1] == 0
            else f"since step {wrong_train[0]}, after an evaluation"
        )
        return finding("warning", 0.93, ", ".join(layers[:4]), wrong_train[0],
                       f"The network is trained in eval mode {since}: {', '.join(layers[:3])} do not work as in training.",
                       ["call model.train() before each training epoch"], **facts)  # fmt: skip
    few = 1 if len(wrong_view) == len(view) else 2
    if len(wrong_view) >= few and len(wrong_view) > 0.5 * len(view) and s.facts.get("plain"):
        return finding("warning", 0.9, ", ".join(layers[:4]), wrong_view[0],
                       f"The network is evaluated in train mode: {', '.join(layers[:3])} make the result noisy or learn from it.",
                       ["call model.eval() before each evaluation and model.train() after it"], **facts)  # fmt: skip
    if s.last("switch", "dropout_on", 0.0) > 0 and s.series("validation", "error"):
        return finding("warning", 0.9, "dropout", s.series("validation", "error")[0][0],
                       "F.dropout goes on in evaluation: called as a function it knows nothing of eval().",
                       ["give it the mode: F.dropout(x, p, training=self.training), or use nn.Dropout"], **facts)  # fmt: skip
    return None
