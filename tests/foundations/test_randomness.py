from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caloforge.foundations.randomness import BLOCK, rows, stream, stream_seed, words

address = st.lists(st.text(max_size=5) | st.integers(0, 2**40), max_size=3).map(tuple)


@given(st.integers(0, 2**62), address)
def test_an_address_names_one_stream(seed: int, address: tuple[str | int, ...]) -> None:
    assert 0 <= stream_seed(seed, *address) < 2**63
    np.testing.assert_array_equal(stream(seed, *address).random(4), stream(seed, *address).random(4))


@given(st.integers(0, 9), address, st.integers(0, 9), address)
def test_two_addresses_never_share_one(
    seed: int, address: tuple[str | int, ...], other_seed: int, other: tuple[str | int, ...]
) -> None:
    same = (seed, address) == (other_seed, other)
    assert (stream_seed(seed, *address) == stream_seed(other_seed, *other)) is same


def test_texts_are_not_numbers_nor_paths() -> None:
    addresses: list[tuple[str | int, ...]] = [
        ("1",),
        (1,),
        ("a", "b"),
        ("a/b",),
        ("'a'", "b"),
        ("a'/'b",),
        (),
    ]
    assert len({stream_seed(1, *address) for address in addresses}) == len(addresses)


def test_a_numpy_integer_is_the_number_it_holds() -> None:
    assert stream_seed(3, int(np.int64(7))) == stream_seed(3, np.int64(7))  # type: ignore[arg-type]


def test_seeds_are_part_of_what_a_file_means_and_never_change() -> None:
    assert stream_seed(1, "noise", 0) == 1889102824999823701
    assert words(2, 3, 1, 1, "noise").tolist() == [[351440839648945538, 15377580467163520211]]
    assert stream(1, "noise", 0).bit_generator.random_raw(2).tolist() == [
        13023044916182355864,
        4822268777607073040,
    ]


def normal(generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return generator.standard_normal(shape)


@given(cuts=st.lists(st.integers(0, 3 * BLOCK), min_size=2, max_size=5).map(sorted))
@pytest.mark.parametrize("table", [partial(rows, normal), words])
def test_a_table_is_the_same_in_whatever_pieces_it_is_read(
    table: Callable[..., np.ndarray], cuts: list[int]
) -> None:
    whole = table(3, cuts[0], cuts[-1] - cuts[0], 1, "table")
    pieces = [table(3, first, last - first, 1, "table") for first, last in pairwise(cuts)]
    assert whole.shape == (cuts[-1] - cuts[0], 3)
    np.testing.assert_array_equal(whole, np.concatenate(pieces))
