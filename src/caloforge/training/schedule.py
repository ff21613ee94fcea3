"""The learning rate as a function of the epoch and of the checks so far; nothing else to remember."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caloforge.training.config import TrainingConfig

__all__ = ["learning_rate"]


def learning_rate(config: TrainingConfig, workers: int, epoch: float, scores: Sequence[float]) -> float:
    """Return the learning rate after ``epoch`` epochs, of which ``scores`` are the checks (small is good).

    Several workers make the batch as many times larger, and the rate with it: linearly from the rate of one
    in the first ``warmup_epochs`` (Goyal et al. 2017, arXiv:1706.02677). ``step`` then multiplies it by
    ``decay_factor`` every ``decay_epochs``; ``plateau`` each time that so many checks in a row are no
    better than the best before them; ``cosine`` lets it fall to zero over all ``epochs`` along half a
    wave (I. Loshchilov, F. Hutter, arXiv:1608.03983).
    """
    warm = min(1.0, epoch / config.warmup_epochs) if config.warmup_epochs > 0 else 1.0
    rate = config.learning_rate * (1 + (workers - 1) * warm)
    if config.schedule == "cosine":
        return float(rate * (1 + math.cos(math.pi * min(1.0, epoch / config.epochs))) / 2)
    decays = {
        "constant": 0,
        "step": math.floor(epoch / config.decay_epochs),
        "plateau": plateaus(scores, config.decay_epochs),
    }
    return float(rate * config.decay_factor ** decays[config.schedule])


def plateaus(scores: Sequence[float], patience: int) -> int:
    """Count how often ``patience`` scores in a row were no better than the best before them."""
    best, waited, count = math.inf, 0, 0
    for score in scores:
        best, waited = (score, 0) if score < best else (best, waited + 1)
        if waited == patience:
            waited, count = 0, count + 1
    return count
