"""The pretrained weights make the showers that they have always made, whatever becomes of the code."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

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
def test_showers_of_a_seed_are_bit_for_bit_those_of_version_0_1() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOWERS],
        env=os.environ | SAME_KERNELS,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["0b46e4d04b0ab62f", "ea14f5b98772d755"]


@pytest.mark.parametrize(
    ("name", "deposit_MeV", "hits"),
    [
        ("clic-ecal", (1119.553, 2333.537, 4333.625), (586, 933, 1367)),
        ("clic-ecal-angle", (1042.751, 2138.495, 4317.561), (573, 797, 1258)),
    ],
)
def test_showers_of_a_seed_are_the_same_to_rounding(
    name: str, deposit_MeV: tuple[float, ...], hits: tuple[int, ...]
) -> None:
    showers = cf.load(name).generate([50e3, 100e3, 200e3], seed=3)
    np.testing.assert_allclose(showers.deposits.sum((1, 2, 3)), deposit_MeV, rtol=1e-4)
    # A cell may lie at the threshold.
    np.testing.assert_allclose((showers.deposits > 0).sum((1, 2, 3)), hits, atol=2)
