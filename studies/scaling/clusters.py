"""Clusters on which 3DGAN was trained, with what was published of them, and what the cost model says.

What no source states is marked as assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from caloforge.training.process_mesh import mesh_shape
from studies.scaling.cost_model import (
    AllReduce,
    Bucket,
    Link,
    LossStep,
    StepTime,
    best_s,
    gloo_mesh_s,
    gloo_ring_s,
    hierarchical_s,
    step_time,
)

__all__ = [
    "CLUSTERS",
    "FLAT",
    "MPI",
    "OMNI_PATH",
    "TRAINED",
    "TRANSPORTS",
    "Cluster",
    "allreduce_on",
    "scaled",
    "step_on",
]

SHARED_MEMORY = Link(1e-6, 1 / 5e9)
"""Between workers of a node (assumed: 1 us, 5 GB/s)."""

OMNI_PATH = Link(1.5e-6, 1 / 12.38e9)
"""Intel Omni-Path, 100 Gbit/s. 12.38 GB/s were measured between two Xeon nodes by osu_mbw_mr at 4 MiB
(gist.github.com/hppritcha/8da4436a216c9d96bf10ad9d403da03f); the vendor names an MPI latency of about 1 us, of
which we take half as much again for switches on the way."""

MPI, TRAINED, FLAT = "MPI", "gloo, as trained", "gloo, flat"
TRANSPORTS = (MPI, TRAINED, FLAT)
"""An MPI library that picks its algorithm, within the node first; what training does over TCP, within the
node first too; and one ring of all workers."""


@dataclass(frozen=True)
class Cluster:
    """Nodes of a kind, how fast one of their workers trains 3DGAN, and the scaling that was published."""

    name: str
    workers_per_node: int
    within: Link
    between: Link
    batch: int
    """Real showers a worker and step."""
    step_s: float
    """Time of that step on one worker, for the 25x25x25 network."""
    published: dict[int, float]
    """Efficiency by number of workers."""


CLUSTERS = {
    # Under a minute for an epoch of 180,000 showers on 128 nodes (the talk of 2019, an upper limit).
    "xeon": Cluster(
        "two-socket Xeon, Omni-Path",
        4,
        SHARED_MEMORY,
        OMNI_PATH,
        8,
        60 * 128 * 4 * 8 / 180_000,
        {512: 0.94},
    ),
    # 20 h 16 min on one GPU, evaluation included ("Evaluating POWER Architecture for Distributed Training of
    # Generative Adversarial Networks", 2019). Assumed: 25 epochs of 180,000 showers, batch 128, four
    # GPUs a node, 100 Gbit/s.
    "p100": Cluster(
        "P100, POWER8",
        4,
        Link(10e-6, 1 / 20e9),
        Link(5e-6, 1 / 11e9),
        128,
        128 * 20.27 * 3600 / (25 * 180_000),
        {12: 0.989},
    ),
    # Cardoso et al., EPJ Web Conf. 251 (2021) 02073. Assumed: the P100's step by the ratio of their
    # peaks (10.6 to 15.7 TFLOP/s), eight GPUs a node, 32 Gbit/s Ethernet with TCP.
    "v100": Cluster(
        "V100, public cloud",
        8,
        Link(10e-6, 1 / 40e9),
        Link.of_rate(30e-6, 32e9),
        128,
        128 * 20.27 * 3600 / (25 * 180_000) * 10.6 / 15.7,
        {32: 0.97, 64: 0.94, 128: 0.80},
    ),
}


def scaled(turns: Sequence[LossStep], factor: float) -> tuple[LossStep, ...]:
    """Make the turns of a machine or a batch that takes ``factor`` times as long."""
    return tuple(
        LossStep(
            turn.compute_s * factor,
            turn.sigma_s * factor,
            tuple(Bucket(each.size_bytes, each.before_end_s * factor) for each in turn.buckets),
        )
        for turn in turns
    )


def allreduce_on(cluster: Cluster, nodes: int, transport: str, tcp: Link) -> AllReduce:
    """Return the all-reduce of a cluster; ``tcp`` is what the software adds to the wire under gloo."""
    wire, per_node = cluster.between, cluster.workers_per_node

    def reduce(size_bytes: float) -> float:
        if transport == MPI:
            return hierarchical_s(
                per_node, size_bytes, cluster.within, lambda size: best_s(nodes, size, wire)
            )
        if transport == FLAT or nodes == 1:
            # One worker of a node sends to the next node.
            return gloo_ring_s(nodes * per_node, size_bytes, tcp.over(wire) if nodes > 1 else tcp)
        return gloo_mesh_s(mesh_shape(nodes, per_node), size_bytes, tcp.over(wire), tcp)

    return reduce


def step_on(
    cluster: Cluster, turns: Sequence[LossStep], nodes: int, transport: str, tcp: Link
) -> StepTime:
    """Predict a step of ``turns`` (as one worker of the cluster takes them) on so many nodes."""
    workers = nodes * cluster.workers_per_node
    return step_time(turns, workers, allreduce_on(cluster, nodes, transport, tcp))
