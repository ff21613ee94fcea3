"""How a network becomes another one, each time from a generator of random numbers alone.

Weights: a random *update* adds normal numbers to all weights, *renew* replaces some by new ones. Architecture:
*widen* adds a unit to a layer, whose output no layer uses yet; *deepen* adds a layer that passes on what it
gets, which ReLU leaves alone, since it was through one already. Both keep the function. *narrow* takes a unit away.

Sources: F. Such et al., Deep neuroevolution, 2017 (updates); T. Chen et al., Net2Net, ICLR 2016 (deepen).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from studies.evolution.networks import Architecture, Weights, weight_scales

__all__ = ["MUTATIONS", "STRUCTURAL", "Mutation", "Network", "cross"]

Network = tuple[Architecture, Weights]
Mutation = Callable[[Architecture, Weights, float, np.random.Generator], Network]

MOST_HIDDEN, WIDEST = 4, 64


def update(
    architecture: Architecture, weights_W: Weights, rate: float, draws: np.random.Generator
) -> Network:
    """Add normal numbers to all weights, ``rate`` times the weights' usual size."""
    steps_W = weight_scales(architecture) * draws.standard_normal(len(weights_W), np.float32)
    return architecture, weights_W + np.float32(rate) * steps_W


def renew(
    architecture: Architecture, weights_W: Weights, rate: float, draws: np.random.Generator
) -> Network:
    """Draw a part ``rate`` of the weights anew, at least one."""
    count = max(1, round(min(rate, 1) * len(weights_W)))
    chosen = draws.choice(len(weights_W), count, replace=False, shuffle=False)
    renewed_W = weights_W.copy()
    renewed_W[chosen] = weight_scales(architecture)[chosen] * draws.standard_normal(count, np.float32)
    return architecture, renewed_W


def widen(
    architecture: Architecture,
    weights_W: Weights,
    rate: float,  # noqa: ARG001
    draws: np.random.Generator,
) -> Network:
    """Add a unit to a layer; the widest stay as they are."""
    at = int(draws.integers(len(architecture.hidden) + 1))
    grown = _resized(architecture, at, 1)
    if max(grown.channels, *grown.hidden) > WIDEST:
        return architecture, weights_W
    layers = [layer.copy() for layer in architecture.split(weights_W)]
    n_in, _ = architecture.layers[at]
    incoming = (2 / n_in) ** 0.5 * draws.standard_normal((n_in, 1), np.float32)
    incoming = np.concatenate([incoming, np.zeros((int(architecture.bias), 1), np.float32)])
    layers[at] = np.concatenate([layers[at], incoming], axis=1)
    layers[at + 1] = _inputs(layers[at + 1], architecture, at, add=True)
    return grown, _joined(layers)


def narrow(
    architecture: Architecture,
    weights_W: Weights,
    rate: float,  # noqa: ARG001
    draws: np.random.Generator,
) -> Network:
    """Take a unit out of a layer that has several."""
    at = int(draws.integers(len(architecture.hidden) + 1))
    width = (architecture.channels, *architecture.hidden)[at]
    if width == 1:
        return architecture, weights_W
    unit = int(draws.integers(width))
    layers = [layer.copy() for layer in architecture.split(weights_W)]
    layers[at] = np.delete(layers[at], unit, axis=1)
    layers[at + 1] = _inputs(layers[at + 1], architecture, at, drop=unit)
    return _resized(architecture, at, -1), _joined(layers)


def deepen(
    architecture: Architecture,
    weights_W: Weights,
    rate: float,  # noqa: ARG001
    draws: np.random.Generator,
) -> Network:
    """Add a layer that passes on what it gets, after one of the hidden ones; the deepest stay as they are."""
    if len(architecture.hidden) >= MOST_HIDDEN:
        return architecture, weights_W
    at = int(draws.integers(len(architecture.hidden)))
    width = architecture.hidden[at]
    layers = list(architecture.split(weights_W))
    passing = np.eye(width + architecture.bias, width, dtype=np.float32)
    layers.insert(at + 2, passing)
    hidden = (*architecture.hidden[: at + 1], width, *architecture.hidden[at + 1 :])
    return replace(architecture, hidden=hidden), _joined(layers)


MUTATIONS: dict[str, Mutation] = {
    "update": update,
    "renew": renew,
    "widen": widen,
    "narrow": narrow,
    "deepen": deepen,
}
STRUCTURAL = ("widen", "narrow", "deepen")


def cross(one_W: Weights, other_W: Weights, draws: np.random.Generator) -> Weights:
    """Take each weight from one of two networks of the same architecture."""
    crossed_W: Weights = np.where(draws.random(len(one_W), np.float32) < 0.5, one_W, other_W)
    return crossed_W


def _resized(architecture: Architecture, at: int, by: int) -> Architecture:
    if at == 0:
        return replace(architecture, channels=architecture.channels + by)
    hidden = list(architecture.hidden)
    hidden[at - 1] += by
    return replace(architecture, hidden=tuple(hidden))


def _inputs(
    layer: Weights, architecture: Architecture, at: int, *, add: bool = False, drop: int | None = None
) -> Weights:
    """Change the rows of the layer after ``at``: the first layer's channels come once a patch."""
    repeats = architecture.patches if at == 0 else 1
    rows, bias = (layer[:-1], layer[-1:]) if architecture.bias else (layer, layer[:0])
    by_unit = rows.reshape(repeats, -1, layer.shape[1])
    if add:
        by_unit = np.concatenate([by_unit, np.zeros_like(by_unit[:, :1])], axis=1)
    if drop is not None:
        by_unit = np.delete(by_unit, drop, axis=1)
    return np.concatenate([by_unit.reshape(-1, layer.shape[1]), bias])


def _joined(layers: list[Weights]) -> Weights:
    return np.concatenate([layer.ravel() for layer in layers])
