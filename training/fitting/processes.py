"""One training by several processes: what those that torchrun started share, and what they tell each other.

`torchrun --nproc-per-node 2 -m training --config config.yaml` for two GPUs, or two shares of the CPU's cores; over
several machines with `--nnodes` and `--rdzv-endpoint`. torchrun sets RANK and WORLD_SIZE; without them there is one
process, the first and only one, and everything here does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from inspection.errors import SolderwatchError

T = TypeVar("T")

_PATIENCE = timedelta(days=7)
"""A process that ended is noticed at once; one that is slow, or tests the model alone, is waited for."""


@contextmanager
def joined() -> Iterator[None]:
    """Join the other processes, as a context; only the first one prints, and only one tells why all of them end.

    Raises:
        SolderwatchError: Another process of this training ended.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    # The loopback interface and CPUs have gloo only.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    with _peers_may_end():
        store, own, total = next(rendezvous("env://"))
        dist.init_process_group(backend, store=store, rank=own, world_size=total, timeout=_PATIENCE)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere) if own else nullcontext():
        try:
            yield
        except (SolderwatchError, KeyboardInterrupt) as error:
            told = 1
            with suppress(RuntimeError):  # else the process that counts is gone, so it is this one that tells
                told = store.add("told", 1)
            if told > 1:
                raise SystemExit(getattr(error, "exit_code", 1)) from None
            raise
        finally:
            dist.destroy_process_group()


def rank() -> int:
    """Which process this is; 0 is the first one, which prints, writes and promotes."""
    return dist.get_rank() if dist.is_initialized() else 0


def count() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def device_of(wanted: str) -> str:
    """The device of this process, where all of them were asked to use `auto`, `cpu`, `cuda` or `cuda:N`."""
    if count() == 1 or wanted not in {"auto", "cuda"} or not torch.cuda.is_available():
        return wanted
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


def share(items: Sequence[T]) -> Sequence[T]:
    """What of it falls to this process; those of two processes differ by one item at most."""
    return items[rank() :: count()]


def summed(values: Tensor) -> Tensor:
    """The sum over all processes; the same in each of them, bit for bit."""
    if count() > 1:
        with _peers_may_end():
            dist.all_reduce(values)
    return values


def average(tensors: Iterable[Tensor]) -> None:
    """Replace tensors of one type by their mean over all processes; the same in each of them, bit for bit."""
    if count() == 1:
        return
    replaced = list(tensors)
    # In one go: each message has its own delay.
    flat = torch.cat([tensor.detach().reshape(-1) for tensor in replaced])
    parts = torch.split(summed(flat) / count(), [tensor.numel() for tensor in replaced])
    with torch.no_grad():
        for tensor, part in zip(replaced, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))


def from_first(data: bytes) -> bytes:
    """What the first process gives, in all of them."""
    if count() == 1:
        return data
    with _peers_may_end():
        length = torch.tensor([len(data)])
        dist.broadcast(length, 0)
        content = torch.zeros(int(length), dtype=torch.uint8)
        if data and not rank():
            content = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        dist.broadcast(content, 0)
    return content.numpy().tobytes()


def alike(data: bytes) -> bool:
    """Whether all processes give the same; they learn it together, so that none goes on alone."""
    return int(summed(torch.tensor(int(from_first(data) != data)))) == 0


@contextmanager
def first_alone() -> Iterator[None]:
    """What follows is done by the first process alone, as a context; the others wait here and end as it ends.

    Raises:
        SystemExit: In the others, with the exit code of the first.
    """
    if rank():
        raise SystemExit(int(from_first(b"")))
    code = 0
    try:
        yield
    except BaseException as error:
        code = error.exit_code if isinstance(error, SolderwatchError) else 1
        raise
    finally:
        from_first(str(code).encode())


@contextmanager
def _peers_may_end() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise SolderwatchError(f"another process of this training ended or cannot be reached: {reason}") from None
