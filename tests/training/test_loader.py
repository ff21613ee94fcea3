from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import wait_until
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.files.shower_writer import write
from caloforge.files.training_store import ShowerStore, prepare_store
from caloforge.foundations.errors import UsageError
from caloforge.showers import Showers
from caloforge.showers.batch import Batch, Given
from caloforge.training.loader import Loader

SHAPE = (4, 4, 3)
N = 103


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ShowerStore:
    """Showers that tell their number: shower i has energy i + 1 MeV, and i + 1 in its deposits."""
    folder = tmp_path_factory.mktemp("store")
    draws = np.random.default_rng(1)
    numbers = np.arange(1, N + 1, dtype=np.float32)
    deposits = (draws.random((N, *SHAPE)) < 0.3) * numbers[:, None, None, None]
    angles = np.full(N, np.pi / 2, np.float32)
    particles, phi = np.where(numbers % 2, 11, 22).astype(np.int32), numbers / 100
    showers = Showers(deposits.astype(np.float32), numbers, angles, Grid("toy", SHAPE), None, particles)
    write(folder / "a.h5", replace(showers, incident_phi=phi.astype(np.float32)))
    return prepare_store([folder / "a.h5"], folder, threshold_MeV=0.0)


def loader(store: ShowerStore, n: int = N, **options: Any) -> Loader:
    return Loader(store, np.arange(n), **({"batch_size": 8, "seed": 1} | options))


def numbers(batch: Batch) -> list[int]:
    return [round(energy) - 1 for energy in batch.given.energy_B.tolist()]


def same(a: Batch, b: Batch) -> bool:
    pairs = zip((a.deposits_BXYZ, *a.given), (b.deposits_BXYZ, *b.given), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def reading_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("caloforge-loader")]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert reading_threads() == []


def test_a_batch_holds_showers_with_their_labels(store: ShowerStore) -> None:
    batch = loader(store).batch(3)
    index = np.array(numbers(batch))
    assert batch.deposits_BXYZ.shape == (len(index), *SHAPE)
    assert {batch.deposits_BXYZ.dtype, batch.given.energy_B.dtype, batch.given.theta_B.dtype} == {
        torch.float32
    }
    np.testing.assert_array_equal(batch.deposits_BXYZ.numpy(), store.dense(index))
    np.testing.assert_array_equal(batch.given.theta_B.numpy(), store.conditions.incident_theta[index])
    np.testing.assert_array_equal(batch.given.phi_B.numpy(), store.conditions.phi[index])
    np.testing.assert_array_equal(batch.given.pdg_B.numpy(), np.where(index % 2, 22, 11))


def test_a_batch_of_which_nothing_more_is_known_is_of_electrons_in_the_y_z_plane() -> None:
    given = Given.of(torch.ones(2))
    batch = Batch(torch.zeros(2, *SHAPE), given)
    assert given.theta_B.tolist() == given.phi_B.tolist() == [np.float32(np.pi / 2)] * 2
    assert given.pdg_B.tolist() == [11, 11]
    assert given.pdg_B.dtype == torch.int64
    assert not given.impact_mm_B2.any()
    assert same(batch.to(torch.device("cpu")), batch)


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(8, N),
    batch_size=st.integers(2, 40),
    world_size=st.integers(1, 4),
    epoch=st.integers(0, 3),
)
def test_every_shower_comes_once_an_epoch_and_no_batch_is_tiny(
    store: ShowerStore, n: int, batch_size: int, world_size: int, epoch: int
) -> None:
    ranks = [
        loader(store, n, batch_size=batch_size, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    steps = ranks[0].steps_per_epoch
    assert steps == -(-n // (batch_size * world_size))
    batches = [numbers(r.batch(epoch * steps + step)) for step in range(steps) for r in ranks]
    assert sorted(itertools.chain(*batches)) == list(range(n))
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


def test_ranks_share_out_what_one_process_would_take(store: ShowerStore) -> None:
    alone = loader(store, batch_size=12)
    ranks = [loader(store, batch_size=4, rank=rank, world_size=3) for rank in range(3)]
    for step in range(2 * alone.steps_per_epoch):
        together = torch.cat([rank.batch(step).deposits_BXYZ for rank in ranks])
        assert torch.equal(alone.batch(step).deposits_BXYZ, together)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 200), st.integers(1, 9), st.integers(1, 4))
def test_the_epoch_is_cut_as_numpy_cuts(
    store: ShowerStore, first: int, batch_size: int, world_size: int
) -> None:
    if batch_size == 1 and world_size > 1:
        batch_size = 2
    one = loader(store, batch_size=batch_size, world_size=world_size, rank=world_size - 1)
    epoch, step = divmod(first, one.steps_per_epoch)
    whole = loader(store, batch_size=N)
    order = np.array(numbers(whole.batch(epoch)))
    expected = np.array_split(np.array_split(order, one.steps_per_epoch)[step], world_size)[-1]
    assert numbers(one.batch(first)) == expected.tolist()


def test_a_batch_depends_on_seed_step_and_rank_alone(store: ShowerStore) -> None:
    options: dict[str, Any] = {"augmentations": ("mirror-x", "transpose"), "rank": 1, "world_size": 2}
    forwards, jumping = loader(store, **options), loader(store, **options)
    steps = range(3 * forwards.steps_per_epoch)
    expected = [forwards.batch(step) for step in steps]
    for step in np.random.default_rng(0).permutation(steps).tolist():
        torch.manual_seed(step)  # must not matter
        assert same(jumping.batch(step), expected[step])


def test_batches_draw_nothing_from_torch(store: ShowerStore) -> None:
    before = torch.get_rng_state()
    list(loader(store, augmentations=("mirror-x",)).iterate(0, 5))
    assert torch.equal(torch.get_rng_state(), before)


def test_epochs_and_seeds_have_permutations_of_their_own(store: ShowerStore) -> None:
    orders = {
        tuple(numbers(loader(store, batch_size=N, seed=seed).batch(epoch)))
        for seed in range(5)
        for epoch in range(5)
    }
    assert len(orders) == 25
    assert all(sorted(order) == list(range(N)) for order in orders)


def test_only_the_chosen_showers_come(store: ShowerStore) -> None:
    chosen = np.array([5, 99, 17, 42])
    one = Loader(store, chosen, batch_size=3, seed=1)
    assert one.steps_per_epoch == 2
    assert sorted(numbers(one.batch(0)) + numbers(one.batch(1))) == sorted(chosen.tolist())


@pytest.mark.parametrize("prefetch", [1, 2, 50])
def test_iterate_gives_the_batches_in_order_from_any_step(store: ShowerStore, prefetch: int) -> None:
    one = loader(store, prefetch=prefetch, augmentations=("mirror-y",))
    last = 2 * one.steps_per_epoch + 3
    for first in (0, one.steps_per_epoch - 1, last - 1):
        steps = list(one.iterate(first, last))
        assert [step for step, _ in steps] == list(range(first, last))
        assert all(same(batch, one.batch(step)) for step, batch in steps)
    assert list(one.iterate(4, 4)) == []


def test_iterate_reads_ahead_but_not_further_than_told(
    store: ShowerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = loader(store, prefetch=3)
    made: list[int] = []
    real = one.batch

    def counted(step: int) -> Batch:
        made.append(step)
        return real(step)

    monkeypatch.setattr(one, "batch", counted)
    steps = one.iterate(10, 30)
    assert made == []  # nothing starts before it is asked for
    next(steps)
    wait_until(lambda: len(made) >= 4)
    time.sleep(0.05)  # more would be seen, late is as it should be
    assert made == [10, 11, 12, 13]
    steps.close()  # type: ignore[attr-defined]


def test_the_thread_ends_when_the_consumer_stops(store: ShowerStore) -> None:
    for step, _ in loader(store).iterate(0, 1000):
        assert len(reading_threads()) == 1
        if step == 3:
            break
    assert reading_threads() == []

    def interrupted() -> None:
        for _ in loader(store).iterate(0, 1000):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert reading_threads() == []
    never_started = loader(store).iterate(0, 1000)
    del never_started
    assert reading_threads() == []


def test_an_error_in_the_thread_reaches_the_consumer_at_its_step(
    store: ShowerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = loader(store)
    real = one.batch

    def broken_at_5(step: int) -> Batch:
        if step == 5:
            raise OSError("the disk is gone")
        return real(step)

    monkeypatch.setattr(one, "batch", broken_at_5)
    seen: list[int] = []
    with pytest.raises(OSError, match="the disk is gone"):
        seen.extend(step for step, _ in one.iterate(3, 1000))
    assert seen == [3, 4]


def test_augmentation_is_drawn_per_shower_and_epoch_whoever_reads_it(store: ShowerStore) -> None:
    names = ("mirror-x", "mirror-y", "transpose")

    def epoch_by_shower(epoch: int, **options: Any) -> dict[int, NDArray[np.float32]]:
        found: dict[int, NDArray[np.float32]] = {}
        for rank in range(options.get("world_size", 1)):
            one = loader(store, augmentations=names, rank=rank, **options)
            for step in range(epoch * one.steps_per_epoch, (epoch + 1) * one.steps_per_epoch):
                batch = one.batch(step)
                found.update(zip(numbers(batch), batch.deposits_BXYZ.numpy(), strict=True))
        return found

    expected = epoch_by_shower(1, batch_size=N)
    changed = 0
    for number, deposits in expected.items():
        original = store.dense(np.array([number]))[0]
        assert deposits.sum() == original.sum()
        changed += not np.array_equal(deposits, original)
    assert changed > N / 2  # 7 of 8 combinations change a shower
    for batch_size, world_size in ((5, 1), (9, 3)):
        got = epoch_by_shower(1, batch_size=batch_size, world_size=world_size)
        assert all(np.array_equal(got[number], expected[number]) for number in range(N))
    other = epoch_by_shower(2, batch_size=N)
    assert any(not np.array_equal(other[number], expected[number]) for number in range(N))


def test_wrong_requests_are_refused(store: ShowerStore) -> None:
    with pytest.raises(UsageError, match="3 showers to train on are too few for 4 workers"):
        loader(store, 3, world_size=4)
    with pytest.raises(UsageError, match="too few for 2 workers with batch_size 1"):
        loader(store, 3, batch_size=1, world_size=2)
    with pytest.raises(UsageError, match="0 showers"):
        loader(store, 0)
    with pytest.raises(UsageError, match="augmentation 'rotate-phi'"):
        loader(store, augmentations=("rotate-phi",))
    for wrong in ({"batch_size": 0}, {"prefetch": 0}, {"rank": 1}, {"rank": -1}):
        with pytest.raises(ValueError, match="expected batch_size"):
            loader(store, **wrong)


def test_a_real_epoch_can_be_read(small_showers: Path, tmp_path: Path) -> None:
    real = prepare_store([small_showers], tmp_path, threshold_MeV=0.0)
    one = Loader(real, np.arange(len(real)), batch_size=10, seed=3, augmentations=("transpose",))
    total = sum(
        float(b.deposits_BXYZ.sum(dtype=torch.float64)) for _, b in one.iterate(0, one.steps_per_epoch)
    )
    assert total == pytest.approx(real.sum_MeV().sum())
