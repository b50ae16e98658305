"""One fit on the workers of a Dask cluster, where the partitions lie."""

from __future__ import annotations

import copy
import time
import uuid
from collections import Counter
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from .._data.lazy import lazy_rows
from .._data.partitions import delayed_parts, is_dask
from .context import across, fit_share
from .store import address_of, check_reachable, connect_to, serve
from .world import Heartbeat, ProcessWorld, died, wait_for_leaving

# Seconds between looks at the cluster, and seconds in which survivors of a fit end.
_PAUSE, _PATIENCE = 0.1, 10.0


class DaskWorkers:
    """Workers that each train on some partitions of a collection.

    Parameters
    ----------
    client : distributed.Client
        Client of the cluster.
    interface : str or None
        Name of the network interface of the workers.
    timeout : float
        Seconds to wait for a worker.
    """

    # Of the process that calls `fit`.
    rank, size = 0, 1

    def __init__(self, client: Any, interface: str | None, timeout: float) -> None:
        self._client = client
        self._interface = interface
        self._timeout = timeout

    def connect(self) -> None:
        """Do nothing: workers are connected for each fit."""

    def disconnect(self) -> None:
        """Do nothing."""

    def fit(self, estimator: Any, X: Any, y: Any, sample_weight: Any) -> None:
        """Train the estimator on the workers, and take over the result."""
        from distributed import MultiLock

        rows = lazy_rows(X)
        if rows is None:
            raise TypeError(
                "Within train_across(client), fit takes a Dask array or frame, got "
                f"{type(X).__name__}. Use dask.array.from_array or "
                "dask.dataframe.from_pandas, or fit outside of the context."
            )
        parts = self._compute(delayed_parts(rows))
        weights = self._weights(sample_weight, parts)
        shares = np.array_split(np.arange(len(parts)), self._count(len(parts)))
        workers = self._choose_workers(parts, shares)
        # Shares of two fits that wait for each other would block the cluster.
        sent = copy.copy(estimator)
        # Callbacks belong to this process.
        vars(sent).pop("_skl_callbacks", None)
        with MultiLock(workers, client=self._client):
            fitted = self._train(sent, parts, weights, shares, workers)
        parameters = estimator.get_params(deep=False)
        for name, value in vars(fitted).items():
            if name not in parameters:
                setattr(estimator, name, value)

    # Partitions

    def _compute(self, parts: list[Any]) -> list[Any]:
        """Compute partitions on the cluster; return their futures."""
        from distributed import wait

        futures: list[Any] = self._client.compute(parts)
        wait(futures)
        for future in futures:
            if future.status != "finished":
                future.result()
        return futures

    def _weights(self, sample_weight: Any, parts: list[Any]) -> list[Any]:
        """Return the weights of each partition."""
        if sample_weight is None:
            return [None] * len(parts)
        if is_dask(sample_weight):
            found = self._compute(delayed_parts(sample_weight))
        else:
            sizes = self._client.gather(self._client.map(len, parts))
            given = np.asarray(sample_weight)
            found = np.split(given, np.cumsum(sizes)[:-1])
        if len(found) != len(parts):
            raise ValueError(
                f"sample_weight has {len(found)} partitions, and X has {len(parts)}. "
                "Give them the same partitions."
            )
        return list(found)

    # Workers

    def _count(self, n_parts: int) -> int:
        n_workers = len(self._client.nthreads())
        if not n_workers:
            raise RuntimeError("The Dask cluster has no workers.")
        return min(n_workers, n_parts)

    def _choose_workers(self, parts: list[Any], shares: list[Any]) -> list[str]:
        """Return a worker for each share: one that holds most of its partitions."""
        free = sorted(self._client.nthreads())
        places = self._client.who_has(parts)
        chosen = []
        for share in shares:
            held = Counter(
                worker for part in share for worker in places.get(parts[part].key, ())
            )
            best = max(free, key=lambda worker: held[worker])
            free.remove(best)
            chosen.append(best)
        hosts = {worker.rpartition(":")[0].rpartition("/")[2] for worker in chosen}
        check_reachable("workers", hosts, on_loopback=self._interface is None)
        return chosen

    def _train(
        self,
        estimator: Any,
        parts: list[Any],
        weights: list[Any],
        shares: list[Any],
        workers: list[str],
    ) -> Any:
        """Train a share on each worker; return the fitted estimator."""
        from distributed import Variable

        name = f"skautoenc-{uuid.uuid4().hex}"
        endpoint = Variable(name, client=self._client)
        # Only these tasks are tied to workers: partitions of a worker that dies are
        # computed again elsewhere.
        futures = [
            self._client.submit(
                _train_share,
                estimator,
                [parts[number] for number in share],
                [weights[number] for number in share],
                rank=rank,
                size=len(shares),
                name=name,
                interface=self._interface,
                timeout=self._timeout,
                workers=[worker],
                allow_other_workers=False,
                pure=False,
                retries=0,
                key=f"{name}-{rank}",
            )
            for rank, (share, worker) in enumerate(zip(shares, workers, strict=True))
        ]
        try:
            self._wait(futures, workers)
            return futures[0].result()
        finally:
            self._client.cancel(futures)
            endpoint.delete()

    def _wait(self, futures: list[Any], workers: list[str]) -> None:
        """Wait for all shares.

        Raises
        ------
        RuntimeError
            If a worker dies.
        Exception
            The error of a share.
        """
        end = float("inf")
        while True:
            states = [future.status for future in futures]
            present = self._client.nthreads()
            lost = [worker for worker in workers if worker not in present]
            if lost or "error" in states:
                # The other shares end by themselves.
                end = min(end, time.monotonic() + _PATIENCE)
            waits = [
                worker
                for worker, state in zip(workers, states, strict=True)
                if state == "pending" and worker not in lost
            ]
            if not waits or time.monotonic() > end:
                break
            time.sleep(_PAUSE)
        errors = [f.exception() for f in futures if f.status == "error"]
        if lost:
            names = [f"the Dask worker {worker}" for worker in lost]
            raise RuntimeError(died(names)) from (errors[0] if errors else None)
        if errors:
            # Others tell of the process that has failed.
            raise next((e for e in errors if str(e).startswith("In proc")), errors[0])


def _train_share(
    estimator: Any,
    parts: list[Any],
    weights: list[Any],
    *,
    rank: int,
    size: int,
    name: str,
    interface: str | None,
    timeout: float,
) -> Any:
    """Train on the partitions of one worker; the first one returns the estimator."""
    from distributed import Variable

    X = _concatenate(parts)
    weight = None if weights[0] is None else np.concatenate(weights)
    if size == 1:
        return estimator.fit(X, sample_weight=weight)
    address, server = address_of(interface), None
    endpoint = Variable(name)
    if rank == 0:
        server = serve(address)
        endpoint.set((address, server.port))
    place = endpoint.get(timeout=timeout)
    heartbeat = Heartbeat(partial(connect_to, *place), rank)
    world = ProcessWorld(
        connect_to(*place), "fit", rank, size, address=address, timeout=timeout
    )
    token = across.set(_Share(world))
    try:
        estimator.fit(X, sample_weight=weight)
    finally:
        across.reset(token)
        heartbeat.stop()
        if server is not None:
            wait_for_leaving(server, size)
    return estimator if rank == 0 else None


class _Share(NamedTuple):
    """What `fit` finds in a worker."""

    world: ProcessWorld

    def fit(self, estimator: Any, X: Any, y: Any, sample_weight: Any) -> None:
        """Train with the other workers."""
        fit_share(estimator, X, y, sample_weight, self.world)


def _concatenate(parts: list[Any]) -> Any:
    """Return partitions as one array, sparse matrix or frame."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], pd.DataFrame):
        return pd.concat(parts)
    if sparse.issparse(parts[0]):
        return sparse.vstack(parts, format="csr")
    return np.concatenate(parts)
