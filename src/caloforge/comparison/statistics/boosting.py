"""Gradient boosting on tables of observables: one way to fit, for classification and for regression.

At most 300 trees of 8 leaves with learning rate 0.05, a fifth of the columns tried at each split; training
ends when the loss on the validation part has not improved for 20 trees. Columns are cut at 254 quantiles
of the training rows; NaN lies below all.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from caloforge.foundations.errors import MissingExtraError

__all__ = ["Table", "boost"]

Array = NDArray[np.float64]

Table = tuple[NDArray[np.floating[Any]], Array, Array]
"""Rows to learn from: features (N, F), target (N,), weight (N,)."""

N_CUTS = 254
SETTINGS: dict[str, Any] = {
    "learning_rate": 0.05,
    "max_iter": 300,
    "max_leaf_nodes": 8,
    "max_features": 0.2,
    "n_iter_no_change": 20,
    "tol": 1e-4,
    "early_stopping": True,
}


def _cut(x_NF: NDArray[np.floating[Any]], edges_QF: Array) -> Array:
    """Replace values by the number of edges below them, NaN by -1.

    The library would do the like, a hundred times slower where rows have weights.
    """
    columns = zip(edges_QF.T, x_NF.T, strict=True)
    bin_NF = np.stack([np.searchsorted(edges, column) for edges, column in columns], axis=1)
    return np.where(np.isnan(x_NF), -1.0, bin_NF)


def boost(
    kind: Literal["Classifier", "Regressor"],
    train: Table,
    validation: Table,
    rows_NF: NDArray[np.floating[Any]],
    *,
    seed: int,
) -> Array:
    """Learn targets 0 and 1, or numbers by least squares; predict log odds, or numbers, for other rows (N,).

    Raises MissingExtraError without scikit-learn.
    """
    try:
        from sklearn import ensemble
    except ImportError:
        raise MissingExtraError("a comparison of showers", "report") from None
    defined_NF = np.where(np.isfinite(train[0]), train[0], np.nan)
    empty_F = np.isnan(defined_NF).all(axis=0)
    defined_NF[:, empty_F] = 0.0
    edges_QF = np.nanquantile(defined_NF, np.linspace(0, 1, N_CUTS + 2)[1:-1], axis=0)
    (x_NF, y_N, weight_N), (x_val, y_val, weight_val) = (
        (_cut(table[0], edges_QF), *table[1:]) for table in (train, validation)
    )
    model = getattr(ensemble, f"HistGradientBoosting{kind}")(random_state=seed % (1 << 32), **SETTINGS)
    model.fit(x_NF, y_N, weight_N, X_val=x_val, y_val=y_val, sample_weight_val=weight_val)
    give = model.decision_function if kind == "Classifier" else model.predict
    return np.asarray(give(_cut(rows_NF, edges_QF)), dtype=np.float64)
