"""Workers that train one model together: they meet, agree, and end together when one of them does."""

from __future__ import annotations

import json
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import NoReturn, TypeVar

import safetensors.torch
import torch
import torch.distributed as dist
import torch.distributed.nn.functional  # its defaults keep for good the group there is when it is first loaded
from torch import Tensor
from torch.distributed.distributed_c10d import Store

from caloforge.foundations.errors import INTERRUPTED, CaloforgeError, UsageError
from caloforge.foundations.progress import Say, say_nothing
from caloforge.foundations.ranks import ALONE, Ranks
from caloforge.foundations.texts import parse_json
from caloforge.training.meeting import address, gather, met
from caloforge.training.process_mesh import ProcessMesh

__all__ = ["Group", "join"]

ANSWER = timedelta(hours=1)
"""A worker that is alive may be busy for so long, packing showers; one that died is noticed at once."""

LAST_WORDS_S = 3.0
"""So long the first worker, with which the store may go, waits until all have heard why they end."""

T = TypeVar("T")

GLOO_AND_NCCL = "cpu:gloo,cuda:nccl"


class Group:
    """The workers of a training, as one of them sees it; a lone one agrees with itself at no cost.

    All workers must call the same methods in the same order. With a ``mesh`` sums go by it.
    """

    def __init__(self, ranks: Ranks = ALONE, mesh: ProcessMesh | None = None) -> None:
        self.rank, self.world, self.leads, self.job = ranks.rank, ranks.world, ranks.leads, ranks.job
        self.first_on_node = ranks.local_rank == 0
        self._ranks, self._mesh = ranks, mesh

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
        """Return all workers what ``make`` gives on the first: of lists, dicts and such, as JSON holds it."""
        if self.world == 1:
            return make()
        text = self._bytes_from_first(lambda: json.dumps(make()).encode())
        result: T = parse_json(text, finite=False)
        return result

    def tensors_from_first(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return all workers the first one's tensors."""
        if self.world == 1:
            return dict(tensors)
        content = self._bytes_from_first(lambda: safetensors.torch.save(dict(tensors)))
        # safetensors gives them in any order; what is compared between workers needs one.
        return dict(sorted(safetensors.torch.load(content).items()))

    def _bytes_from_first(self, make: Callable[[], bytes]) -> bytes:
        content = torch.frombuffer(bytearray(make()), dtype=torch.uint8) if self.leads else None
        size = torch.tensor(0 if content is None else len(content))
        dist.broadcast(size, 0)
        content = torch.empty(int(size), dtype=torch.uint8) if content is None else content
        dist.broadcast(content, 0)
        return content.numpy().tobytes()

    def start_sum(self, tensor: Tensor) -> Callable[[], object]:
        """Begin to replace a tensor by its sum over the workers; return the function that waits for it."""
        if self._mesh is not None and tensor.device.type == "cpu":
            return self._mesh.start(tensor)
        work = dist.all_reduce(tensor, async_op=True)
        assert work is not None
        wait: Callable[[], object] = work.wait
        return wait

    def add_up(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over the workers."""
        if self.world > 1:
            self.start_sum(tensor)()

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace small tensors by their means over the workers, in one message."""
        if self.world == 1:
            return
        flat = torch.cat([tensor.detach().reshape(-1).to("cpu", torch.float64) for tensor in tensors])
        self.add_up(flat)
        pieces = torch.split(flat / self.world, [tensor.numel() for tensor in tensors])
        for tensor, piece in zip(tensors, pieces, strict=True):
            tensor.detach().copy_(piece.view_as(tensor))

    def any(self, flag: bool) -> bool:
        """Tell all workers whether one of them says so."""
        count = torch.tensor(float(flag))
        if self.world > 1:
            dist.all_reduce(count)  # not by the mesh, whose groups wait less long
        return bool(count > 0)

    def wait(self) -> None:
        """Wait until all workers are here."""
        self.any(False)

    @contextmanager
    def one_a_node_first(self) -> Iterator[None]:
        """Let one worker of each node do something before the others find it done."""
        if not self.first_on_node:
            self.wait()
        yield
        if self.first_on_node:
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
def join(
    ranks: Ranks, meeting: Path, backend: str | None = None, say: Say = say_nothing
) -> Iterator[Group]:
    """Meet the other workers, and leave them at the end of the block, however it ends.

    Where the launcher names no MASTER_ADDR and MASTER_PORT (torchrun does) they meet through a short-lived
    file beside ``meeting``, in a folder that all of them see. ``backend`` is one that this torch has; None
    means nccl for tensors on GPUs and gloo for others. An error is raised by the first worker that has
    one; the others end with the same exit code and say nothing (SystemExit). ``say`` hears of workers that are
    waited for.
    """
    try:
        backend, given = _known_backend(backend), address(ranks)
        if ranks.world > 1 and not meeting.parent.is_dir():
            raise UsageError(f"{meeting}: the folder {meeting.parent} does not exist")
    except UsageError:
        if ranks.leads:
            raise
        raise SystemExit(UsageError.exit_code) from None
    if ranks.world == 1:
        yield Group(ranks)
        return
    with ExitStack() as stack:
        until_all_came = stack.enter_context(ExitStack())
        store = until_all_came.enter_context(met(ranks, meeting, given))
        stack.enter_context(_heard_by_all(ranks, store))
        try:
            gather(ranks, store, say)
            _init(backend, ranks, store)
            stack.callback(dist.destroy_process_group)
            mesh = ProcessMesh.of(ranks) if "gloo" in backend else None
            if mesh is not None:
                stack.callback(mesh.close)
            group = Group(ranks, mesh)
            group.wait()
            until_all_came.close()
            yield group
            group.wait()  # what a worker still sends needs us
        except RuntimeError as error:
            if not isinstance(error, dist.DistError) and "gloo" not in str(error).lower():
                raise  # not the network's
            traceback.clear_frames(error.__traceback__)  # where a group may still be known
            _leave_lost(ranks, store)
        except (CaloforgeError, OSError, MemoryError) as error:
            _leave(ranks, store, error, getattr(error, "exit_code", CaloforgeError.exit_code))
        except KeyboardInterrupt as error:
            _leave(ranks, store, error, INTERRUPTED)


def _known_backend(name: str | None) -> str:
    """Return what torch calls a backend. Raises UsageError for one that it lacks."""
    names = [each for each in dist.Backend.backend_list if each not in ("undefined", "fake")]
    known = [each for each in names if dist.is_backend_available(each)]
    if name is None:
        return GLOO_AND_NCCL if torch.cuda.is_available() and "nccl" in known else "gloo"
    if name not in known:
        raise UsageError(f"--backend: this torch has {', '.join(known)}, got {name!r}")
    return GLOO_AND_NCCL if name == "nccl" else name  # small things are exchanged on the CPU


def _init(backend: str, ranks: Ranks, store: Store) -> None:
    if ranks.one_node:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if backend == "mpi":  # knows rank and world itself
        dist.init_process_group(backend, timeout=ANSWER)
    else:
        dist.init_process_group(
            backend, store=store, rank=ranks.rank, world_size=ranks.world, timeout=ANSWER
        )


def _leave(ranks: Ranks, store: Store, error: BaseException, code: int) -> NoReturn:
    """Raise an error of this worker, or SystemExit if another has said already why all end."""
    mine = told = f"{ranks.rank} {code}"
    with suppress(RuntimeError):  # the store went with the first worker
        told = store.compare_set("why", "", mine).decode()
        store.add("heard", 1)
    if told != mine:
        raise SystemExit(int(told.split()[1])) from None
    raise error


def _leave_lost(ranks: Ranks, store: Store) -> NoReturn:
    """End this worker, since another does not answer; which one it was, the launcher says."""
    with suppress(ValueError):  # not in a main thread
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the launcher hurries those who are left
    code = CaloforgeError.exit_code
    lost = "lost a worker (killed, or its node or the network failed)"
    error = CaloforgeError(f"{lost}: --resume continues from the last checkpoint")
    try:
        store.check(["why"])
    except RuntimeError:  # the store went with the first worker; one or two lines a node are enough
        if ranks.local_rank > 1:
            raise SystemExit(code) from None
        raise error from None
    _leave(ranks, store, error, code)


@contextmanager
def _heard_by_all(ranks: Ranks, store: Store) -> Iterator[None]:
    """Keep the first worker, with which the store may go, after an error until all who came know why they end."""
    try:
        yield
    except BaseException:
        end = time.monotonic() + LAST_WORDS_S
        with suppress(RuntimeError):
            while (
                ranks.leads and store.add("heard", 0) < store.add("came", 0) and time.monotonic() < end
            ):
                time.sleep(0.05)
        raise
