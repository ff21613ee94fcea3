"""The pretrained weights make the showers that they have always made, whatever becomes of the code."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

import caloforge as cf

SHOWERS = """
import hashlib, numpy as np, caloforge as cf
draw = np.random.default_rng(1)
for name in ("clic-ecal", "clic-ecal-angle"):
    energy, theta = draw.uniform(10e3, 500e3, 12), draw.uniform(1.1, 2.0, 12)
    showers = cf.load(name).generate(energy, theta if "angle" in name else None, seed=7)
    print(hashlib.sha256(showers.deposits.tobytes()).hexdigest()[:16])
"""

# torch and MKL choose their kernels by processor, and their last bits with them: here, those that every
# x86 processor of the last ten years has.
SAME_KERNELS = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "1"}


@pytest.mark.process
def test_showers_of_a_seed_are_bit_for_bit_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOWERS],
        env=os.environ | SAME_KERNELS,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["acf2bf44c5ae319b", "7e26a919888838df"]


@pytest.mark.parametrize(
    ("name", "deposit_MeV", "hits"),
    [
        ("clic-ecal", (1094.707, 2299.573, 4170.542), (580, 913, 1349)),
        ("clic-ecal-angle", (1042.751, 2138.495, 4317.560), (573, 797, 1258)),
    ],
)
def test_showers_of_a_seed_are_the_same_to_rounding(
    name: str, deposit_MeV: tuple[float, ...], hits: tuple[int, ...]
) -> None:
    showers = cf.load(name).generate([50e3, 100e3, 200e3], seed=3)
    np.testing.assert_allclose(showers.deposits.sum((1, 2, 3)), deposit_MeV, rtol=1e-4)
    # A cell may lie at the threshold.
    np.testing.assert_allclose((showers.deposits > 0).sum((1, 2, 3)), hits, atol=2)


@pytest.mark.parametrize("mirror", ["mirror-x", "mirror-y", "transpose"])
def test_a_mirrored_direction_gives_mirrored_showers(mirror: str) -> None:
    """In total, hits, and the way of the axis: means agree within their errors."""
    phi = 0.7
    other = {"mirror-x": math.pi - phi, "mirror-y": -phi, "transpose": math.pi / 2 - phi}[mirror]
    model = cf.load("clic-ecal-angle")
    energy, theta = np.full(250, 50e3), np.radians(75)
    found, expected = (
        model.generate(energy, theta, phi=angle, seed=seed) for angle, seed in ((other, 1), (phi, 2))
    )
    images = found.deposits
    images = images.transpose(0, 2, 1, 3) if mirror == "transpose" else images
    images = images[:, ::-1] if mirror == "mirror-x" else images
    images = images[:, :, ::-1] if mirror == "mirror-y" else images
    for numbers in zip(_moments(images), _moments(expected.deposits), strict=True):
        means, errors = ([f(n) for n in numbers] for f in (np.mean, lambda n: n.std() / len(n) ** 0.5))
        assert abs(means[0] - means[1]) < 4 * math.hypot(*errors)


def _moments(deposits: NDArray[np.float32]) -> tuple[NDArray[np.floating], ...]:
    total = deposits.sum((1, 2, 3))
    x = deposits.sum((2, 3)) @ np.arange(deposits.shape[1]) / total
    y = deposits.sum((1, 3)) @ np.arange(deposits.shape[2]) / total
    return total, (deposits > 0).sum((1, 2, 3)), x, y
