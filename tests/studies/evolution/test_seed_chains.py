from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caloforge.foundations.errors import CaloforgeError
from studies.evolution.mutations import MUTATIONS
from studies.evolution.networks import Architecture
from studies.evolution.seed_chains import Gene, SeedChain, first_network, mutate, read_chain

genes = st.builds(
    Gene,
    kind=st.sampled_from(sorted(MUTATIONS)),
    generation=st.integers(0, 2**32 - 1),
    child=st.integers(0, 2**16 - 1),
    rate=st.floats(0, 1, width=32),
)
chains = st.builds(
    SeedChain,
    seed=st.integers(0, 2**63),
    start=st.builds(
        Architecture,
        patches=st.just(3),
        cells=st.just(4),
        channels=st.integers(1, 3),
        hidden=st.lists(st.integers(1, 4), min_size=1, max_size=2).map(tuple),
        bias=st.booleans(),
    ),
    first=st.integers(0, 9),
    genes=st.lists(genes, max_size=12).map(tuple),
)


@given(chains)
def test_a_chain_grows_the_network_bit_for_bit(chain: SeedChain) -> None:
    network = first_network(chain.seed, chain.start, chain.first)
    for gene in chain.genes:
        network = mutate(chain.seed, network, gene)
    content = chain.to_bytes()
    again = read_chain(content)
    assert again == chain
    architecture, weights_W = again.grow()
    assert architecture == network[0]
    assert weights_W.tobytes() == network[1].tobytes()
    assert len(content) <= 200 + 11 * len(chain.genes)


def test_another_address_is_another_network() -> None:
    start = Architecture(3, 4)
    gene = Gene("update", 1, 2, 0.5)
    others = [gene._replace(generation=2), gene._replace(child=3), gene._replace(kind="renew")]
    grown = {SeedChain(1, start, 0, (each,)).grow()[1].tobytes() for each in (gene, *others)}
    grown |= {
        SeedChain(2, start, 0, (gene,)).grow()[1].tobytes(),
        SeedChain(1, start, 1, ()).grow()[1].tobytes(),
    }
    assert len(grown) == 6


@given(st.binary(max_size=80), st.integers(0, 400))
def test_damage_is_refused_in_one_line(noise: bytes, where: int) -> None:
    good = SeedChain(1, Architecture(3, 4), 0, (Gene("update", 1, 2, 0.5),) * 3).to_bytes()
    for content in (noise, good[:where] + noise + good[where + len(noise) :]):
        with suppress(CaloforgeError):  # and nothing else
            chain = read_chain(content)
            assert all(gene.kind in MUTATIONS and np.isfinite(gene.rate) for gene in chain.genes)


@pytest.mark.parametrize(
    "head",
    [
        b"[]",
        b'{"seed": 1, "first": 0}',
        b'{"seed": 1, "first": 0, "start": {"patches": 3, "cells": 4, "channels": 0, "hidden": [2], "bias": false}}',
        b'{"seed": 1, "first": 0, "start": {"patches": 3, "cells": 4, "channels": 9999999, "hidden": [99], "bias": false}}',
    ],
)
def test_impossible_networks_are_refused(head: bytes) -> None:
    with pytest.raises(CaloforgeError, match="seed chain: expected"):
        read_chain(head + b"\n")
