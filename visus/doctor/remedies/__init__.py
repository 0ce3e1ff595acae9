"""Remedies: from what is known of a patient to `key=value` edits of its recipe. One function each.

    @remedy(cures=("learning-rate-too-large",))
    def rate_down(chart): ...           # a Treatment, or None where it could change nothing

A remedy is data: it knows recipes by their keys alone, and proves nothing. `visus.doctor.trials`
tries it on a fork.
"""

from visus.doctor.remedies.treatment import (
    Chart,
    Treatment,
    prescribe,
    remedies,
    remedy,
    together,
)

__all__ = ["Chart", "Treatment", "prescribe", "remedies", "remedy", "together"]
