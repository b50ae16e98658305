"""Processes that run the same program, each with some of the rows of a fit."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

import torch.distributed

from .context import fit_share
from .store import LOOPBACK, address_of, check_reachable, connect_to, serve
from .world import Heartbeat, ProcessWorld, wait_for_leaving

# Classes of the processes' connections, which have no types.
dist: Any = torch.distributed

# Number of contexts of this process so far: each has its own keys in a shared store.
_n_contexts = 0

Exchange = Callable[[Any], list[Any]]


class Ranks:
    """Processes that run the same program.

    Parameters
    ----------
    start : tuple
        Result of `find_processes`.
    interface : str or None
        Name of a network interface.
    timeout : float
        Seconds to wait for a process.
    """

    def __init__(
        self, start: tuple[int, int, Exchange], interface: str | None, timeout: float
    ) -> None:
        self.rank, self.size, self._exchange = start
        self._interface = interface
        self._timeout = timeout
        self._server: Any = None
        self._heartbeat: Heartbeat | None = None
        self._n_fits = 0

    def connect(self) -> None:
        """Open the store that the processes share."""
        self._address = address_of(self._interface)
        port = 0
        if self.rank == 0:
            self._server = serve(self._address)
            port = self._server.port
        found = self._exchange((socket.gethostname(), self._address, port))
        hosts = {host for host, *_ in found}
        on_loopback = self._address == LOOPBACK
        check_reachable("processes", hosts, on_loopback=on_loopback)
        _, *self._endpoint = found[0]
        if self.size > 1:
            connect = partial(connect_to, *self._endpoint)
            self._heartbeat = Heartbeat(connect, self.rank)

    def disconnect(self) -> None:
        """Close the store."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
            if self._server is not None:
                wait_for_leaving(self._server, self.size)
        self._server = self._heartbeat = None

    def fit(self, estimator: Any, X: Any, y: Any, sample_weight: Any) -> None:
        """Train the estimator with the other processes."""
        self._n_fits += 1
        fit_share(estimator, X, y, sample_weight, self._world())

    def _world(self) -> ProcessWorld | None:
        """Return the processes of the next fit; None for one."""
        if self.size == 1:
            return None
        return ProcessWorld(
            connect_to(*self._endpoint),
            f"fit{self._n_fits}",
            self.rank,
            self.size,
            address=self._address,
            timeout=self._timeout,
        )


def find_processes(timeout: float) -> tuple[int, int, Exchange]:
    """Return rank, number of processes, and a function that gathers values of all.

    Raises
    ------
    RuntimeError
        If the process has not been started as one of several.
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size(), _through_group
    names = "RANK", "WORLD_SIZE"
    if not all(name in os.environ for name in names):
        names = "SLURM_PROCID", "SLURM_NTASKS"
    numbers = [os.environ.get(name, "") for name in names]
    has_address = "MASTER_ADDR" in os.environ and "MASTER_PORT" in os.environ
    if not all(numbers) or not has_address:
        raise RuntimeError(
            "train_across() needs several processes, and this one has been started "
            "alone. Start the program by torchrun, such as torchrun --nproc-per-node=2 "
            "program.py (with Slurm: srun torchrun), or initialize torch.distributed "
            "first, or pass the client of a Dask cluster: train_across(client)."
        )
    rank, size = map(int, numbers)
    store, rank, size = next(
        dist.rendezvous("env://", rank, size, timeout=timedelta(seconds=timeout))
    )
    return rank, size, _through_store(store, rank, size)


def _through_group(value: Any) -> list[Any]:
    found = [None] * dist.get_world_size()
    dist.all_gather_object(found, value)
    return found


def _through_store(store: Any, rank: int, size: int) -> Exchange:
    """Return a function that gathers values by a store."""
    global _n_contexts
    _n_contexts += 1
    own = dist.PrefixStore(f"skautoenc{_n_contexts}", store)

    rounds = count()

    def exchange(value: Any) -> list[Any]:
        number = next(rounds)
        own.set(f"{number}-{rank}", pickle.dumps(value))
        return [pickle.loads(own.get(f"{number}-{each}")) for each in range(size)]

    return exchange
