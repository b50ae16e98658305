"""One fit on several processes, each of which has some of the rows."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable
from contextlib import nullcontext
from contextvars import ContextVar, Token
from datetime import timedelta
from functools import partial
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import torch.distributed

from .interfaces import LOOPBACK, address_of

if TYPE_CHECKING:
    from .world import Heartbeat, ProcessWorld

# Classes of the processes' connections, which have no types.
dist: Any = torch.distributed

# The store is there before its address is told. Later, a machine may be busy.
_TO_CONNECT, _TO_ANSWER = timedelta(seconds=4), timedelta(seconds=60)

# Number of contexts of this process so far: each has its own keys in a shared store.
_n_contexts = 0

Exchange = Callable[[Any], list[Any]]


class Across(Protocol):
    """How `fit` reaches the other processes."""

    def fit(self, estimator: Any, X: Any, y: Any, sample_weight: Any) -> None:
        """Train the estimator with the other processes."""


# Set within `train_across`; `fit` reads it, and no layer below does.
across: ContextVar[Across | None] = ContextVar("across", default=None)


def fit_share(
    estimator: Any, X: Any, y: Any, sample_weight: Any, world: ProcessWorld | None
) -> None:
    """Train with the other processes of a world, or alone if it is None."""
    # A user's network builder or callback may call `fit`, too, in this process.
    token = across.set(None)
    try:
        with nullcontext() if world is None else world:
            estimator._fit_here(X, y, sample_weight, world)
    finally:
        across.reset(token)


def train_across(
    client: Any = None, *, interface: str | None = None, timeout: float = 600.0
) -> ProcessesContext:
    """Train one model on several processes, in a context.

    Each process has some of the rows. All of them call `fit` within the context, with
    the same parameters and their own rows, and end with the same fitted estimator: mean
    and scale, initial weights, gradients, and when to stop are those of all rows. The
    processes are started by ``torchrun``, by another program that initializes
    `torch.distributed`, such as Ray Train, or they are the workers of a Dask cluster.

    Parameters
    ----------
    client : distributed.Client or None, default=None
        Client of a Dask cluster. `fit` then takes a Dask array or frame and runs on the
        workers that hold its partitions. None for a process that is one of several,
        which run the same program.

    interface : str or None, default=None
        Name of the network interface on which processes listen for each other, such as
        "eth0", the same on all machines. None for the loopback interface, which reaches
        processes of one machine only.

    timeout : float, default=600.0
        Seconds to wait for a process that is slow, for example because it still reads
        its data. If a process dies, the others do not wait.

    Returns
    -------
    context manager
        Several fits can run in it, one after the other. Its attributes `rank` and
        `size` are the number of this process, from 0, and the number of processes.

    Raises
    ------
    RuntimeError
        If no client is given, and the process has not been started as one of several.

    See Also
    --------
    train_together : Train the fits of a search jointly.

    Notes
    -----
    `batch_size` is the number of rows of a batch in all processes together. Processes
    may have different numbers of rows, even none, and then take a smaller part of each
    batch. The order of the rows and random noise differ between processes, so a fit
    depends on how rows are distributed, but not otherwise on chance.

    :class:`AutoencoderTransformer`, :class:`ConvAutoencoderTransformer`,
    :class:`VariationalAutoencoder` and :class:`ConvVariationalAutoencoder` can be
    trained across processes, except with batch normalization, `n_neighbors` and
    ``prior="mixture"``, which compare rows that may be in different processes. Other
    estimators raise an error. Steps of a pipeline before the autoencoder learn from the
    rows of their own process.

    If a process fails, or if its rows, columns or parameters do not match those of the
    others, all of them raise an error that names the process. With `checkpoint`, the
    first process writes the checkpoint, and a fit that is started again with the same
    rows on the same number of processes resumes from it.

    Processes exchange pickled objects: listen on networks that you trust only.

    Examples
    --------
    A program for ``torchrun --nproc-per-node=2 program.py``::

        rows = np.load("rows.npy", mmap_mode="r")
        with train_across() as processes:
            autoencoder = AutoencoderTransformer(random_state=0)
            autoencoder.fit(rows[processes.rank :: processes.size])

    On the workers of a Dask cluster::

        client = distributed.Client("scheduler:8786")
        with skautoenc.train_across(client, interface="eth0"):
            autoencoder.fit(dask.dataframe.read_parquet("rows"))
    """
    if client is not None:
        from .dask_workers import DaskWorkers

        return ProcessesContext(DaskWorkers(client, interface, timeout))
    return ProcessesContext(Ranks(_start(timeout), interface, timeout))


class ProcessesContext:
    """The context of `train_across`.

    Parameters
    ----------
    processes : Ranks or DaskWorkers
        The processes, which are connected in the context.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    size : int
        Number of processes.
    """

    def __init__(self, processes: Any) -> None:
        self._processes = processes
        self.rank: int = processes.rank
        self.size: int = processes.size
        self._token: Token[Across | None] | None = None

    def __enter__(self) -> Self:
        self._processes.connect()
        self._token = across.set(self._processes)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._token is not None:
            across.reset(self._token)
        self._processes.disconnect()


class Ranks:
    """Processes that run the same program.

    Parameters
    ----------
    start : tuple
        Result of `_start`.
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
        if len(hosts) > 1 and self._address == LOOPBACK:
            raise ValueError(
                f"The processes are on {len(hosts)} machines, which do not reach each "
                "other by the loopback interface. Set interface of train_across to the "
                "name of the network interface that connects them, such as 'eth0'."
            )
        _, *self._endpoint = found[0]
        if self.size > 1:
            from .world import Heartbeat

            connect = partial(connect_to, *self._endpoint)
            self._heartbeat = Heartbeat(connect, self.rank)

    def disconnect(self) -> None:
        """Close the store."""
        if self._heartbeat is not None:
            from .world import wait_for_leaving

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
        from .world import ProcessWorld

        return ProcessWorld(
            connect_to(*self._endpoint),
            f"fit{self._n_fits}",
            self.rank,
            self.size,
            address=self._address,
            timeout=self._timeout,
        )


def connect_to(host: str, port: int) -> Any:
    """Return a connection to the store that all processes share.

    Raises
    ------
    RuntimeError
        If the process that has the store is not there any more.
    """
    try:
        store = dist.TCPStore(
            host, port, None, False, timeout=_TO_CONNECT, wait_for_workers=False
        )
    except RuntimeError as error:
        raise RuntimeError(
            f"Process 0, at {host}:{port}, cannot be reached: it died or left "
            "train_across. All processes must make the same calls of fit within it."
        ) from error
    store.set_timeout(_TO_ANSWER)
    return store


def serve(address: str) -> Any:
    """Open a store that listens on one address, on any free port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family)
    listener.bind((address, 0))
    listener.listen(1024)
    port = listener.getsockname()[1]
    return dist.TCPStore(
        address,
        port,
        None,
        True,
        wait_for_workers=False,
        master_listen_fd=listener.detach(),
        # The server by libuv of torch 2.6 takes no open socket.
        use_libuv=False,
    )


def _start(timeout: float) -> tuple[int, int, Exchange]:
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
