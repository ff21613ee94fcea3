"""Sums over workers: through the loopback interface, between emulated hosts, and what the model says of them.

The model's two numbers, what gloo adds to the wire, are fitted to some points (``fitted``: rings of 2 and 4 hosts) and
tested on others (``tested``: a ring of three, the middle latency, the meshes that training makes). Above
CALIBRATED it is this machine's cores, which all emulated hosts share, that set the pace (``bound by this
machine's cores``). With many hosts the cores do too; what is counted there is how many latencies a sum costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from statistics import fmean, median
from typing import Any

from caloforge.training.process_mesh import mesh_shape
from studies.scaling.allreduce import AllReduce, ThisHost, allreduce_processes, way_text
from studies.scaling.calibration import FREE, Point, Way, fit_software, relative_errors
from studies.scaling.cost_model import Link
from studies.scaling.emulation import emulated_hosts

__all__ = ["SIZES", "emulated_points", "latency_rows", "loopback_points", "sum_rows"]

CRITIC_BYTES, GENERATOR_BYTES = 4 * 73_402, 4 * 872_808
"""Gradients of 3dgan: its weights without the running statistics of BatchNorm."""
SIZES = (65_536, CRITIC_BYTES, GENERATOR_BYTES)
HOSTS = 4
RINGS_AND_MESHES: tuple[Way, ...] = (2, 3, 4, (2, 2, 1))
TWO_A_HOST: tuple[Way, ...] = ((1, 2, 2),)
REPEATS = 4
LATENCIES_S = (1e-4, 5e-4, 1e-3)
RATES = (1e8, 1e9, 1e10)
CALIBRATED = 1e9
TOTALS_S = (0.08, 0.24)
"""Delays are chosen so that a sum takes about so long, times the number of hosts."""
FEW_BYTES = 4096

Setting = tuple[float, float, Way, int]
"""Latency (s), rate (bit/s), way, bytes."""
Row = dict[str, Any]


def loopback_points(seconds: float) -> list[Point]:
    """Time sums of two processes, so that each has its core where there are two."""
    with allreduce_processes(ThisHost(2)) as reduce:
        return _time([(0.0, 0.0, 2, size) for size in SIZES], seconds, reduce)


def emulated_points(seconds: float, loopback: Link) -> dict[str, list[Point]]:
    """Time sums between emulated hosts, at least one round of each; points by the use that is made of them.

    ``loopback`` is what a message costs within a host. Raises CaloforgeError where hosts cannot be emulated.
    """

    def settings(ways: Sequence[Way]) -> list[Setting]:
        return [
            (s, rate, way, size) for s in LATENCIES_S for rate in RATES for way in ways for size in SIZES
        ]

    with emulated_hosts(HOSTS) as hosts, allreduce_processes(hosts) as reduce:
        points = _time(settings(RINGS_AND_MESHES), seconds * 2 / 3, reduce, hosts.shape)
    with emulated_hosts(2) as hosts, allreduce_processes(hosts, 2) as reduce:
        two = _time(settings(TWO_A_HOST), seconds / 3, reduce, hosts.shape)
    used: dict[str, list[Point]] = {use: [] for use in ("fitted", "tested", "tested, two a host")}
    used["bound by this machine's cores"] = []
    for point in (*points, *(replace(each, within=loopback) for each in two)):
        used[_use(point)].append(point)
    return used


def _use(point: Point) -> str:
    if 8 / point.wire.s_per_byte > CALIBRATED * 1.01:
        return "bound by this machine's cores"
    if point.way in TWO_A_HOST:
        return "tested, two a host"
    return "tested" if point.wire.latency_s == LATENCIES_S[1] or point.way not in (2, 4) else "fitted"


def sum_rows(
    points: dict[str, list[Point]], software: Link | None = None
) -> tuple[list[Row], list[Row]]:
    """List the points beside the model, and how well it does for each use; fitted if not given."""
    software = software or fit_software(points["fitted"])
    sums: list[Row] = []
    fits: list[Row] = []
    for use, mine in points.items():
        errors = relative_errors(mine, software)
        for point, error in zip(mine, errors, strict=True):
            sums.append(
                {
                    "use": use,
                    "latency_s": point.wire.latency_s,
                    "bit_per_s": 8 / point.wire.s_per_byte if point.wire.s_per_byte else None,
                    "way": way_text(point.way),
                    "bytes": point.size_bytes,
                    "seconds": point.seconds,
                    "model_s": point.seconds * (1 + error),
                    "error": error,
                }
            )
        fits.append(
            {
                "use": use,
                "points": len(mine),
                "mean_error": fmean(map(abs, errors)),
                "largest_error": max(map(abs, errors)),
                "latency_s": software.latency_s,
                "s_per_byte": software.s_per_byte,
            }
        )
    return sums, fits


def latency_rows(n: int, rounds: int = 3) -> Iterator[Row]:
    """Count the latencies of a sum of few bytes over ``n`` emulated hosts, flat and by the mesh.

    The work of so many processes on few cores hides in delays that are long beside it, and cancels between
    two of them.
    """
    with emulated_hosts(n) as hosts, allreduce_processes(hosts) as reduce:
        for way in (n, mesh_shape(n, 1)):
            reduce(way, FEW_BYTES, 1)  # connects, while the network has no delay
            modelled = Point(Link(1.0, 0.0), way, FEW_BYTES, 1.0).predicted_s(FREE)
            delays_s = [total_s * n / modelled for total_s in TOTALS_S]
            seconds = []
            for delay_s in delays_s:
                hosts.shape(delay_s, CALIBRATED)
                seconds.append(median(reduce(way, FEW_BYTES, rounds)))
            hosts.shape(0.0, CALIBRATED)
            yield {
                "hosts": n,
                "way": way_text(way),
                "bytes": FEW_BYTES,
                "delays_s": delays_s,
                "seconds": seconds,
                "latencies": (seconds[1] - seconds[0]) / (delays_s[1] - delays_s[0]),
                "modelled": round(modelled),
            }


def _time(
    settings: Sequence[Setting],
    seconds: float,
    reduce: AllReduce,
    shape: Callable[[float, float], None] | None = None,
) -> list[Point]:
    """Time sums in turn, at least one round of each; medians of the rounds' means."""
    times: dict[Setting, list[float]] = {setting: [] for setting in settings}
    for way, size in dict.fromkeys(setting[2:] for setting in settings):
        reduce(way, size, 1)  # connects
    stop = time.monotonic() + seconds
    while not times[settings[-1]] or time.monotonic() < stop:
        for setting in settings:
            latency_s, rate, way, size = setting
            if shape is not None:
                shape(latency_s, rate)
            # Ranks are ahead of each other in turns: only a mean tells how long a sum takes.
            repeats = REPEATS // 2 if rate == RATES[0] else REPEATS
            times[setting].append(fmean(reduce(way, size, repeats)))
    return [
        Point(
            Link.of_rate(latency_s, rate) if rate else Link(0.0, 0.0), way, size, median(times[setting])
        )
        for setting in settings
        for latency_s, rate, way, size in [setting]
    ]
