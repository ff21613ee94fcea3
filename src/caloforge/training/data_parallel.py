"""Workers that train one model together: they meet, agree, and notice when one of them is gone."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from caloforge.foundations.durable import write_text
from caloforge.foundations.errors import INTERRUPTED, CaloforgeError, UsageError
from caloforge.foundations.ranks import ALONE, Ranks
from caloforge.training.all_reduce import AllReduce
from caloforge.training.witness import Witness

__all__ = ["Group", "join"]

MEETING_S = 300.0
"""All workers must have come within this time."""

ANSWER = timedelta(hours=1)
"""A worker that is alive may be busy for so long, packing showers; one that died is noticed at once."""

T = TypeVar("T")


class Group:
    """The workers of a training, as one of them sees it; a lone one agrees with itself at no cost.

    All workers must call the same methods in the same order.
    """

    def __init__(self, ranks: Ranks = ALONE) -> None:
        self.rank, self.world, self.leads, self.job = ranks.rank, ranks.world, ranks.leads, ranks.job
        self._ranks = ranks

    def device(self, kind: str) -> torch.device:
        """Return this worker's device, "cpu" or "cuda". Raises UsageError with fewer GPUs than workers."""
        if kind == "cpu":
            return torch.device("cpu")
        found, needed = torch.cuda.device_count(), self._ranks.local_world
        if found < needed:
            raise UsageError(
                f"setting device: cuda needs a GPU for each worker of a node, here {needed}, found {found}"
            )
        torch.cuda.set_device(self._ranks.local_rank)
        return torch.device("cuda", self._ranks.local_rank)

    def from_first(self, make: Callable[[], T]) -> T:
        """Return all workers what ``make`` gives on the first."""
        if self.world == 1:
            return make()
        box = [make() if self.leads else None]
        dist.broadcast_object_list(box, device=torch.device("cpu"))
        result: T = box[0]  # type: ignore[assignment]
        return result

    @cached_property
    def all_reduce(self) -> AllReduce:
        """Return what adds up large messages; all workers must ask for it first at the same time."""
        return AllReduce(self._ranks)

    def add_up(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over the workers."""
        if self.world > 1:
            dist.all_reduce(tensor)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace small tensors by their means over the workers, in one message."""
        if self.world == 1:
            return
        flat = torch.cat([tensor.detach().reshape(-1).to("cpu", torch.float64) for tensor in tensors])
        dist.all_reduce(flat)
        pieces = torch.split(flat / self.world, [tensor.numel() for tensor in tensors])
        for tensor, piece in zip(tensors, pieces, strict=True):
            tensor.detach().copy_(piece.view_as(tensor))

    def any(self, flag: bool) -> bool:
        """Tell all workers whether one of them says so."""
        count = torch.tensor(float(flag))
        self.add_up(count)
        return bool(count > 0)

    def wait(self) -> None:
        """Wait until all workers are here."""
        self.any(False)

    @contextmanager
    def one_a_node_first(self) -> Iterator[None]:
        """Let one worker of each node do something before the others find it done."""
        if self._ranks.local_rank > 0:
            self.wait()
        yield
        if self._ranks.local_rank == 0:
            self.wait()

    def require_same(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Raise CaloforgeError if a tensor differs between workers by a single bit."""
        if self.world == 1:
            return
        checksums = torch.stack([_checksum(tensor) for tensor in tensors.values()]).cpu()
        # The largest checksum and, with its sign turned, the smallest.
        extremes = torch.cat([checksums, -checksums])
        dist.all_reduce(extremes, dist.ReduceOp.MAX)
        high, low = extremes[: len(checksums)], -extremes[len(checksums) :]
        differ = [name for name, same in zip(tensors, (high == low).tolist(), strict=True) if not same]
        if differ:
            raise CaloforgeError(
                f"after step {step} the workers no longer hold the same weights: {len(differ)} tensors "
                f"differ, the first is {differ[0]}; no checkpoint of it was written"
            )


def _checksum(tensor: Tensor) -> Tensor:
    # All types here have 4 or 8 bytes; an optimiser may keep its count of steps elsewhere.
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.int32).sum(dtype=torch.int64)


@contextmanager
def join(ranks: Ranks, meeting: Path) -> Iterator[Group]:
    """Meet the other workers, and leave them at the end of the block, however it ends.

    Where the launcher names no MASTER_ADDR and MASTER_PORT (torchrun does) they meet through a short-lived
    file beside ``meeting``, in a folder that all of them see. An error is raised by the first worker
    that has one; the others end with the same exit code and say nothing (SystemExit).
    """
    if ranks.world == 1:
        yield Group(ranks)
        return
    if not meeting.parent.is_dir():
        if ranks.leads:
            raise UsageError(f"{meeting}: the folder {meeting.parent} does not exist")
        raise SystemExit(UsageError.exit_code)
    gpus = torch.cuda.is_available() and dist.is_nccl_available()
    backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
    with ExitStack() as stack:
        until_all_came = stack.enter_context(ExitStack())
        store = until_all_came.enter_context(_met(ranks, meeting))
        witness = Witness(ranks, store)
        stack.enter_context(witness.alive())
        try:
            dist.init_process_group(
                backend, store=store, rank=ranks.rank, world_size=ranks.world, timeout=ANSWER
            )
            stack.callback(dist.destroy_process_group)
            until_all_came.close()
            group = Group(ranks)
            yield group
            group.wait()  # what a worker still sends needs us
        except RuntimeError as error:
            if not isinstance(error, dist.DistError) and "gloo" not in str(error).lower():
                raise  # not the network's
            witness.leave_lost()
        except (CaloforgeError, OSError, MemoryError) as error:
            witness.leave(error, getattr(error, "exit_code", CaloforgeError.exit_code))
        except KeyboardInterrupt as error:
            witness.leave(error, INTERRUPTED)


@contextmanager
def _met(ranks: Ranks, meeting: Path) -> Iterator[Store]:
    """Return the store through which the workers find each other, for as long as they have not."""
    wait, name = timedelta(seconds=MEETING_S), f"caloforge-{ranks.attempt}"
    if {"MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        store, *_ = next(rendezvous("env://", ranks.rank, ranks.world, timeout=wait))
        yield PrefixStore(name, store)
        return
    job = re.sub(r"[^\w.@-]", "-", f"{ranks.job}.{ranks.attempt}")
    file = meeting.with_name(f".{meeting.name}.{job}.meeting")
    if ranks.leads:
        host = "localhost" if ranks.local_world == ranks.world else socket.gethostname()
        server = TCPStore(host, 0, ranks.world, True, wait, wait_for_workers=False)
        try:
            write_text(file, f"{host} {server.port}\n")
            yield PrefixStore(name, server)
        finally:
            file.unlink(missing_ok=True)
    else:
        yield PrefixStore(name, _find(file, ranks))


def _find(file: Path, ranks: Ranks) -> Store:
    """Connect to what the first worker wrote into ``file``, once it has."""
    end = time.monotonic() + MEETING_S
    while time.monotonic() < end:
        with suppress(OSError, ValueError, RuntimeError):  # not there yet, or of a job that was killed
            host, port = file.read_text(encoding="utf-8").split()
            return TCPStore(host, int(port), ranks.world, False, timedelta(seconds=10))
        time.sleep(0.05)
    raise CaloforgeError(
        f"{file}: rank 0 of {ranks.world} did not come within {MEETING_S:.0f} s; "
        "all workers must see this folder"
    )
