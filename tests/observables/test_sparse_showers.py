"""Lists of hits say what the dense images say."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from caloforge.observables.sparse_showers import SparseShowers

IMAGES = st.integers(0, 6).flatmap(
    lambda n: arrays(
        np.float32, (n, 2, 3, 4), elements=st.one_of(st.just(0.0), st.floats(0.5, 100, width=32))
    )
)


@settings(deadline=None)
@given(IMAGES)
def test_hits_and_images_are_the_same_showers(images: NDArray[np.float32]) -> None:
    hits = SparseShowers.of(images)
    assert len(hits) == len(images)
    np.testing.assert_array_equal(hits.dense(), images.reshape(len(images), 24))
    counts = np.count_nonzero(images.reshape(len(images), 24), axis=1)
    np.testing.assert_array_equal(np.diff(hits.offsets), counts)
    np.testing.assert_array_equal(np.bincount(hits.shower, minlength=len(images)), counts)


@settings(deadline=None)
@given(IMAGES, st.data())
def test_showers_are_taken_and_joined(images: NDArray[np.float32], data: st.DataObject) -> None:
    hits = SparseShowers.of(images)
    rows = np.array(
        data.draw(st.lists(st.integers(0, max(0, len(images) - 1)), max_size=8)) if len(images) else [],
        np.intp,
    )
    flat = images.reshape(len(images), 24)
    np.testing.assert_array_equal(hits.take(rows).dense(), flat[rows])
    joined = SparseShowers.join([hits, hits.take(rows), hits])
    np.testing.assert_array_equal(joined.dense(), np.concatenate([flat, flat[rows], flat]))


@settings(deadline=None)
@given(IMAGES)
def test_sums_by_layer_are_those_of_the_images(images: NDArray[np.float32]) -> None:
    hits = SparseShowers.of(images)
    expected = images.sum(axis=(1, 2), dtype=np.float64)
    np.testing.assert_allclose(hits.sum(hits.deposits, hits.cells % 4, 4), expected)
