"""Processes that train one model together, connected by torch.distributed."""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

import numpy as np
import torch
import torch.distributed
from torch import Tensor

Value = TypeVar("Value")

# Classes of the processes' connections, which have no types.
dist: Any = torch.distributed

# Values of up to this size are gathered by one message instead of two.
_SMALL_BYTES = 1024
# Seconds between signs of life, and seconds after which their lack names a process.
_BEAT, _SILENCE = 0.5, 4.0
# Seconds to wait for the first sign. A process that starts has none: a new worker of a
# cluster imports torch first, or ends another task.
_TO_BEGIN = 60.0
# Seconds that the process with the store waits for the others to read from it.
_LINGER = 5.0
# Errors that processes raise when another one has raised them.
_KINDS: tuple[type[Exception], ...] = (ValueError, TypeError, MemoryError, OSError)

_FAILURE = "failure"
# Longer gaps between looks at a clock are a machine that stood still.
_LONGEST_GAP = 0.5


class Countdown:
    """Seconds that pass while this process runs.

    If the machine stands still, no process gives a sign of life, and none is dead.
    """

    def __init__(self, seconds: float) -> None:
        self._left, self._last = seconds, time.monotonic()

    def is_over(self) -> bool:
        """Whether the seconds have passed; to be asked often."""
        now = time.monotonic()
        self._left -= min(now - self._last, _LONGEST_GAP)
        self._last = now
        return self._left <= 0


class Heartbeat:
    """Counts in a store while this process lives, in a thread.

    Parameters
    ----------
    connect : callable
        Returns a connection to the store that is not used otherwise: a store answers
        one request at a time.
    rank : int
        Number of this process.
    """

    def __init__(self, connect: Callable[[], Any], rank: int) -> None:
        self._connect = connect
        self._rank = rank
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop counting, and say so in the store."""
        self._ended.set()
        self._thread.join(_LINGER)

    def _run(self) -> None:
        # The process with the store may end before this one.
        with suppress(RuntimeError):
            store, has_ended = self._connect(), False
            while not has_ended:
                store.add(f"beat{self._rank}", 1)
                has_ended = self._ended.wait(_BEAT)
            store.set(f"left{self._rank}", b"")


def wait_for_leaving(server: Any, size: int) -> None:
    """Wait until all processes have left a store, or show no life, for some seconds.

    Parameters
    ----------
    server : torch.distributed.TCPStore
        The store, in the process that has opened it.
    size : int
        Number of processes.
    """
    present, end = list(range(size)), time.monotonic() + 2 * _LINGER
    silence, beats = Countdown(_SILENCE), [-1] * size
    while present := [n for n in present if not server.check([f"left{n}"])]:
        if time.monotonic() > end:
            return
        if silence.is_over():
            before, silence = beats, Countdown(_SILENCE)
            beats = [server.add(f"beat{rank}", 0) for rank in range(size)]
            present = [n for n in present if before[n] != beats[n]]
        time.sleep(0.01)


class ProcessWorld:
    """Processes that each hold some of the rows of a fit; see `World`.

    It is a context manager. If one process leaves it by an error or dies, all others
    raise an error that names the process, at their next exchange.

    Parameters
    ----------
    store : torch.distributed.Store
        Store that all processes share, in which a `Heartbeat` of each of them counts.
    name : str
        Name of the fit, first part of its keys in the store.
    rank, size : int
        Number of this process, and number of processes.
    address : str
        Address of this machine that the others reach it by.
    timeout : float
        Seconds to wait for a process that is alive.
    """

    def __init__(
        self,
        store: Any,
        name: str,
        rank: int,
        size: int,
        *,
        address: str,
        timeout: float,
    ) -> None:
        self.rank = rank
        self.size = size
        self._address = address
        self._timeout = timeout
        self._shared = store
        self._store = dist.PrefixStore(name, store)
        self._names = [f"process {each}" for each in range(size)]
        self._hosts: list[str] = []
        self._group: Any = None
        self._accelerators: Any = None
        # Whether an error of this process would be no news to the others.
        self._is_over = False
        self._lost: set[int] = set()

    def __enter__(self) -> Self:
        self._wait_for_all()
        try:
            self._make_group()
        except BaseException:
            self._close()
            raise
        return self

    def _make_group(self) -> None:
        options = dist.ProcessGroupGloo._Options()
        options._timeout = timedelta(seconds=self._timeout)
        options._threads = 1
        device = dist.ProcessGroupGloo.create_device(hostname=self._address)
        options._devices = [device]
        store = dist.PrefixStore("gloo", self._store)
        self._group = self._exchange(
            lambda: dist.ProcessGroupGloo(store, self.rank, self.size, options)
        )
        told = self.gather((socket.gethostname(), os.getpid()))
        self._hosts = [host for host, _ in told]
        self._names = [
            f"process {rank} ({host}, pid {pid})"
            for rank, (host, pid) in enumerate(told)
        ]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.gather(None)
            elif not self._is_over:
                self._report(error)
        finally:
            self._close()

    # Exchanges

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all processes, in the order of their ranks."""
        content = pickle.dumps(value)
        small = np.zeros(8 + _SMALL_BYTES, dtype=np.uint8)
        small[:8] = np.frombuffer(len(content).to_bytes(8, "little"), dtype=np.uint8)
        head = np.frombuffer(content[:_SMALL_BYTES], dtype=np.uint8)
        small[8 : 8 + len(head)] = head
        found = self.gather_tensor(torch.from_numpy(small)).numpy()
        sizes = [int.from_bytes(each[:8].tobytes(), "little") for each in found]
        contents = [
            each[8 : 8 + n].tobytes() for each, n in zip(found, sizes, strict=True)
        ]
        if max(sizes) > _SMALL_BYTES:
            rest = np.zeros(max(sizes), dtype=np.uint8)
            rest[: len(content)] = np.frombuffer(content, dtype=np.uint8)
            found = self.gather_tensor(torch.from_numpy(rest)).numpy()
            contents = [
                each[:n].tobytes() for each, n in zip(found, sizes, strict=True)
            ]
        return [pickle.loads(each) for each in contents]

    def broadcast(self, value: Value) -> Value:
        """Return the value of the first process."""
        content = pickle.dumps(value if self.rank == 0 else None)
        size = torch.tensor([len(content)], device="cpu")
        self._exchange(lambda: self._group.broadcast(size, 0).wait())
        data = torch.empty(int(size), dtype=torch.uint8, device="cpu")
        if self.rank == 0:
            data.numpy()[:] = np.frombuffer(content, dtype=np.uint8)
        self._exchange(lambda: self._group.broadcast(data, 0).wait())
        found: Value = pickle.loads(data.numpy().tobytes())
        return found

    def add_into(self, tensor: Tensor) -> None:
        """Replace a tensor by the sum over all processes; bits are equal in all."""
        own = tensor if self._accelerators is not None else tensor.cpu()
        self._exchange(lambda: self._group_of(own).allreduce([own]).wait())
        if own is not tensor:
            tensor.copy_(own)

    def gather_tensor(self, tensor: Tensor) -> Tensor:
        """Return tensors of equal shapes, (size, *shape), in the order of ranks."""
        own = tensor.contiguous()
        if self._accelerators is None:
            own = own.cpu()
        found = [torch.empty_like(own) for _ in range(self.size)]
        self._exchange(lambda: self._group_of(own).allgather([found], [own]).wait())
        return torch.stack(found).to(tensor.device)

    # Errors hold on to variables of functions. Connections are in none, so that they
    # are closed at once.
    def _group_of(self, tensor: Tensor) -> Any:
        return self._group if tensor.device.type == "cpu" else self._accelerators

    def choose_device(
        self, device: str | torch.device, resolve: Callable[[], torch.device]
    ) -> torch.device:
        """Return the device of this process: processes of a machine share its GPUs."""
        chosen = resolve()
        kinds = set(self.gather(chosen.type))
        if len(kinds) > 1:
            if device != "auto":
                raise ValueError(
                    f"Processes train on devices of different types: {sorted(kinds)}. "
                    "Set the same device in all of them."
                )
            chosen = torch.device("cpu")
        if chosen.type == "cuda" and (device == "auto" or chosen.index is None):
            local = self._hosts[: self.rank].count(self._hosts[self.rank])
            chosen = torch.device("cuda", local % torch.cuda.device_count())
        if chosen.type == "cuda" and dist.is_nccl_available():
            self._connect_accelerators(chosen)
        return chosen

    def _connect_accelerators(self, device: torch.device) -> None:
        torch.cuda.set_device(device)
        store = dist.PrefixStore("nccl", self._store)
        limit = timedelta(seconds=self._timeout)
        self._accelerators = self._exchange(
            lambda: dist.ProcessGroupNCCL(store, self.rank, self.size, limit)
        )

    def _exchange(self, function: Callable[[], Value]) -> Value:
        try:
            return function()
        except RuntimeError as error:
            self._explain(error)

    # Faults

    def _wait_for_all(self) -> None:
        """Wait until all processes have called `fit`."""
        self._store.set(f"here{self.rank}", b"")
        end, absent = time.monotonic() + self._timeout, list(range(self.size))
        silence, beats = Countdown(_SILENCE), self._beats()
        begin = Countdown(_TO_BEGIN)
        while absent := [n for n in absent if not self._store.check([f"here{n}"])]:
            is_late = begin.is_over()
            if time.monotonic() > end:
                raise RuntimeError(
                    f"{_listed(absent)} did not call fit within {self._timeout:g} s. "
                    "All processes must make the same calls of fit within train_across."
                )
            if silence.is_over():
                before, beats, silence = beats, self._beats(), Countdown(_SILENCE)
                silent = [n for n in absent if before[n] == beats[n]]
                gone = [n for n in silent if beats[n] or is_late]
                if gone:
                    raise RuntimeError(
                        f"{_listed(gone)} died or left train_across, and does not take "
                        "part in this fit. All processes must make the same calls of "
                        "fit within train_across."
                    )
            time.sleep(min(0.01 * self.size, 0.1))

    def _report(self, error: BaseException) -> None:
        """Tell the others why this process cannot go on."""
        name = self._names[self.rank]
        told = f"{type(error).__name__}: {error}"
        kind = next(
            (number for number, each in enumerate(_KINDS) if isinstance(error, each)),
            None,
        )
        if kind is not None:
            told = str(error)
        error.add_note(f"Raised by {name} of {self.size}; the others raise it, too.")
        with suppress(RuntimeError):
            self._tell(kind, f"In {name}: {told}")
            self._leave()

    def _tell(self, kind: int | None, message: str) -> None:
        """Store what has happened, unless another process has been faster."""
        self._store.compare_set(_FAILURE, "", pickle.dumps((kind, message)).hex())

    def _told(self) -> tuple[int | None, str] | None:
        if not self._store.check([_FAILURE]):
            return None
        found: tuple[int | None, str]
        found = pickle.loads(bytes.fromhex(self._store.get(_FAILURE).decode()))
        return found

    def _explain(self, error: Exception) -> NoReturn:
        """Raise the error of another process, or one that names the process."""
        try:
            told = self._told() or self._find_lost(error)
            self._leave()
        except RuntimeError:
            told = None, died(self._names[:1])
        self._is_over = True
        kind, message = told
        raise (RuntimeError if kind is None else _KINDS[kind])(message) from error

    def _find_lost(self, error: Exception) -> tuple[int | None, str]:
        """Return an error that names the processes that show no life."""
        before, silence = self._beats(), Countdown(_SILENCE)
        while not silence.is_over():
            time.sleep(0.1)
            if (told := self._told()) is not None:
                return told
        pairs = zip(before, self._beats(), strict=True)
        self._lost = {rank for rank, (old, new) in enumerate(pairs) if old == new}
        names = [self._names[rank] for rank in sorted(self._lost)]
        message = died(names) if names else f"The processes lost touch: {error}"
        self._tell(None, message)
        return self._told() or (None, message)

    def _beats(self) -> list[int]:
        return [self._shared.add(f"beat{rank}", 0) for rank in range(self.size)]

    def _leave(self) -> None:
        """End the exchanges of others, who then read of the failure.

        If they read it from this process, wait for them.
        """
        self._store.set(f"read{self.rank}", b"")
        self._group = self._accelerators = None
        alive = set(range(self.size)) - self._lost
        others = [f"read{rank}" for rank in alive]
        end = time.monotonic() + _LINGER
        while self.rank == 0 and time.monotonic() < end:
            if all(self._store.check([each]) for each in others):
                return
            time.sleep(0.05)

    def _close(self) -> None:
        self._group = self._accelerators = None


def died(names: list[str]) -> str:
    """Return the error of processes or workers that are not there any more."""
    return (
        f"{_listed(names)} died during the fit, which cannot go on without its rows. "
        "Start it again: with a checkpoint, it resumes where it was saved last."
    )


def _listed(names: Any) -> str:
    told = [f"process {name}" if isinstance(name, int) else name for name in names]
    text = " and ".join(told)
    return text[:1].upper() + text[1:]
