"""Weights written as the random numbers they came from: a first network and the mutations since.

A mutation draws from a stream whose address is its kind, generation and child, so 11 bytes say all of it, however
many weights it changes. What :func:`grow` makes of a chain is the network bit for bit. Gradient steps and crossover
have no such short name.

Source: F. Such et al., Deep neuroevolution, 2017 (arXiv 1712.06567), section 3.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.randomness import stream
from studies.evolution.mutations import MUTATIONS, Network
from studies.evolution.networks import Architecture, first_weights

__all__ = ["Gene", "SeedChain", "first_network", "mutate", "read_chain"]

KINDS = tuple(MUTATIONS)
GENE = np.dtype([("kind", "u1"), ("child", "<u2"), ("generation", "<u4"), ("rate", "<f4")])
MOST_WEIGHTS = 10**7


class Gene(NamedTuple):
    """A mutation: which, where in the evolution, and how strong; ``rate`` is a float32."""

    kind: str
    generation: int
    child: int
    rate: float


@dataclass(frozen=True)
class SeedChain:
    """What a network came from, in an evolution with this seed."""

    seed: int
    start: Architecture
    first: int
    genes: Sequence[Gene] = ()

    def grow(self) -> Network:
        """Make the network."""
        network = first_network(self.seed, self.start, self.first)
        for gene in self.genes:
            network = mutate(self.seed, network, gene)
        return network

    def to_bytes(self) -> bytes:
        """Write a line of JSON, then the genes."""
        head = {"seed": self.seed, "first": self.first, "start": asdict(self.start)}
        rows = [(KINDS.index(g.kind), g.child, g.generation, g.rate) for g in self.genes]
        return json.dumps(head).encode() + b"\n" + np.array(rows, GENE).tobytes()


def read_chain(content: bytes) -> SeedChain:
    """Read what :meth:`SeedChain.to_bytes` wrote. Raises CaloforgeError."""
    line, newline, rest = content.partition(b"\n")
    try:
        head = json.loads(line)
        start = head["start"]
        start = Architecture(**{**start, "hidden": tuple(start["hidden"])})
        numbers = (*start.hidden, start.patches, start.cells, start.channels)
        if not newline or not all(type(n) is int and 0 < n <= MOST_WEIGHTS for n in numbers):
            raise ValueError
        if start.n_weights > MOST_WEIGHTS or type(start.bias) is not bool:
            raise ValueError
        rows = np.frombuffer(rest, GENE)
        genes = tuple(Gene(KINDS[k], int(g), int(c), float(r)) for k, c, g, r in rows.tolist())
        if not all(0 <= gene.rate < np.inf for gene in genes):
            raise ValueError
        return SeedChain(int(head["seed"]), start, int(head["first"]), genes)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError, OverflowError):
        raise CaloforgeError("seed chain: expected a line of JSON and genes of 11 bytes") from None


def first_network(seed: int, architecture: Architecture, number: int) -> Network:
    """Draw one of the networks that an evolution begins with."""
    return architecture, first_weights(architecture, stream(seed, "first", number))


def mutate(seed: int, network: Network, gene: Gene) -> Network:
    """Apply a mutation to a network."""
    draws = stream(seed, gene.kind, gene.generation, gene.child)
    return MUTATIONS[gene.kind](*network, gene.rate, draws)
