"""One fit on several processes, each of which has some of the rows."""

from __future__ import annotations

from contextvars import Token
from types import TracebackType
from typing import Any, Self

from .context import Across, across


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
    from .ranks import Ranks, find_processes

    return ProcessesContext(Ranks(find_processes(timeout), interface, timeout))


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
