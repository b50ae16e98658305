"""Joint training of the fits of a search."""

from __future__ import annotations

import threading
import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextvars import copy_context
from typing import Any

import numpy as np
from joblib import Parallel, delayed, parallel_config
from joblib.parallel import (
    BACKENDS,
    DEFAULT_BACKEND,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
    get_active_backend,
)

from .._persistence.checkpoint import holds_up_others
from .._training.fitting import Fit, train, train_alone, training_strategy
from .._training.joint import joint_key, max_group_size
from .shares import fill_in, outline

# Number of calls that are queued at once. joblib's default, 2 * n_jobs, is too small.
_QUEUE_LENGTH = 256
# Maximum size of the rows and networks of waiting fits. Each fit has its own rows.
_WAITING_BYTES = 2**28


def train_together() -> parallel_config:
    """Train the fits of a search jointly, in a context.

    In small networks, most of the time of a fit is the overhead of single steps. In a
    joint step, many networks share this overhead. Within the context, a search of
    scikit-learn (`GridSearchCV`, `RandomizedSearchCV`, `cross_val_score` and similar
    functions) trains candidates of the same architecture on folds of the same size in
    joint steps. The results are the same as without the context, except for rounding.

    Returns
    -------
    joblib.parallel_config
        A context manager. It takes effect with the call, not with ``with``.

    See Also
    --------
    sklearn.model_selection.GridSearchCV : Search to run in the context.

    Notes
    -----
    Dense networks are trained jointly if they have no dropout and no normalization, the
    squared error as loss (the default for most data), and the same widths, activation
    and sparsity rule. They may differ in everything else: data, seed, learning rate,
    weight decay (except that all or none have one), noise, epochs. Up to 64 networks
    train jointly, fewer if they are larger: as many as fit into the processor's cache.
    All other fits are trained alone.

    With ``n_jobs=2`` or more in the search, each of the processes trains its share
    jointly. They are processes of the joblib backend that is set outside, such as the
    workers of a Dask cluster: ``with parallel_config("dask"), train_together():``. An
    interrupt from the keyboard ends the search. Fit times include the time of waiting
    for other fits. Do not hold a lock during `fit` that other fits need: calls wait for
    each other within `fit`, so all of them would be blocked.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skautoenc import AutoencoderTransformer, train_together
    >>> X, y = load_iris(return_X_y=True)
    >>> search = GridSearchCV(
    ...     make_pipeline(
    ...         StandardScaler(),
    ...         AutoencoderTransformer(2, random_state=0),
    ...         LogisticRegression(),
    ...     ),
    ...     {"autoencodertransformer__learning_rate_init": [0.002, 0.005, 0.01]},
    ... )
    >>> with train_together():
    ...     search.fit(X, y).best_score_ > 0.8
    np.True_
    """
    return parallel_config(backend=_Together(_surrounding_backend()))


def _surrounding_backend() -> ParallelBackendBase:
    """Return the backend that provides processes."""
    backend, _ = get_active_backend()
    if isinstance(backend, _Together):
        return backend.processes
    if getattr(backend, "supports_sharedmem", False):
        # In threads of one process, shares would train in turn.
        return BACKENDS[DEFAULT_BACKEND](nesting_level=0)
    return backend


class _Abandoned(BaseException):
    """Ends a call whose result is no longer needed."""


class _Call:
    """A call in its own thread, which runs only while its caller waits for it.

    It yields when it has a fit to train, and resumes when the fit is trained.

    Parameters
    ----------
    function : callable
        Function to call, without arguments.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.fit: Fit | None = None
        self.result: Any = None
        self.error: BaseException | None = None
        self._abandoned = False
        self._go_on = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._warnings = _warnings_state()
        # Before version 2 of numpy, they are per thread and not in the context.
        self._errors = np.geterr()
        # The context holds settings of the caller, such as those of `numpy.errstate`.
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._run,), name="_run", daemon=True
        )

    def go_on(self) -> None:
        """Run the call until it has something to train or is done."""
        self.fit = None
        if self._thread.ident is None:
            self._thread.start()
        # Filters that the call has set, and not restored yet, apply to this call only.
        outside = _warnings_state()
        _set_warnings_state(self._warnings)
        try:
            self._go_on.release()
            self._back.acquire()
        finally:
            self._warnings = _warnings_state()
            _set_warnings_state(outside)

    def abandon(self) -> None:
        """End the call where it waits, or after its epoch if it trains alone."""
        self._abandoned = True
        if self.fit is not None:
            self.go_on()

    def _run(self) -> None:
        training_strategy.set(self._train)
        # Other fits of the process resume only after this call yields.
        holds_up_others.set(True)
        try:
            self._wait()
            np.seterr(**self._errors)
            self.result = self.function()
        except BaseException as error:
            self.error = error
        self._back.release()

    def _train(self, fit: Fit) -> None:
        if threading.current_thread() is not self._thread:
            # A thread that the call has started, with a copy of the context.
            train_alone(fit)
            return
        if joint_key(fit.run) is None or max_group_size(fit.run) == 1:
            fit.epochs = self._until_abandoned(fit.epochs)
            train_alone(fit)
            return
        self.fit = fit
        self._back.release()
        self._wait()
        fit.check()

    def _until_abandoned(self, epochs: Iterator[None]) -> Iterator[None]:
        for _ in epochs:
            yield
            if self._abandoned:
                raise _Abandoned

    def _wait(self) -> None:
        if not self._abandoned:
            self._go_on.acquire()
        if self._abandoned:
            raise _Abandoned


# Attributes that `warnings.catch_warnings` changes and restores.
_WARNINGS = ("filters", "showwarning", "_showwarnmsg_impl")


def _warnings_state() -> dict[str, Any]:
    return {name: getattr(warnings, name) for name in _WARNINGS}


def _set_warnings_state(state: dict[str, Any]) -> None:
    for name, value in state.items():
        setattr(warnings, name, value)
    # This resets the registries of warnings that were already shown.
    with warnings.catch_warnings():
        pass


def call_together(functions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run functions one after the other, and train their fits jointly."""
    calls = [_Call(function) for function in functions]
    ready = deque(calls)
    waiting: dict[Hashable, list[_Call]] = defaultdict(list)
    try:
        while ready or waiting:
            if not ready:
                ready.extend(_train(waiting, next(iter(waiting))))
            call = ready.popleft()
            call.go_on()
            if call.error is not None:
                raise call.error
            if call.fit is None:
                continue
            key = joint_key(call.fit.run)
            waiting[key].append(call)
            # Calls whose fits are trained resume at once, to release their data.
            if len(waiting[key]) == max_group_size(call.fit.run):
                ready.extendleft(_train(waiting, key))
            elif sum(map(_n_bytes, waiting.values())) > _WAITING_BYTES:
                largest = max(waiting, key=lambda key: _n_bytes(waiting[key]))
                ready.extendleft(_train(waiting, largest))
    except BaseException:
        for call in calls:
            call.abandon()
        raise
    return [call.result for call in calls]


def _train(waiting: dict[Hashable, list[_Call]], key: Hashable) -> list[_Call]:
    """Train the fits that calls wait for, and return the calls."""
    calls = waiting.pop(key)
    fits = [call.fit for call in calls if call.fit is not None]
    try:
        train(fits)
    except Exception as error:
        for fit in fits:
            fit.fail(error)
    return calls


def _n_bytes(calls: Sequence[_Call]) -> int:
    """Return the size of the data that calls hold while they wait."""
    return sum(call.fit.run.n_bytes for call in calls if call.fit is not None)


def _call_share(outlines: Sequence[Any], *shared: Any) -> list[Any]:
    """Make the calls of one process.

    Parameters
    ----------
    outlines : sequence of BatchedCalls
        Batches of calls, without the arguments that they share.
    *shared : object
        These arguments.
    """
    return call_together(fill_in(outlines, shared))


class _Job:
    """A batch of calls that joblib has submitted.

    Parameters
    ----------
    function : callable
        Runs the batch.
    callback : callable
        Called when the batch is done.
    """

    def __init__(
        self, function: Callable[[], Any], callback: Callable[[Any], Any]
    ) -> None:
        self.function = function
        self.callback = callback
        self.result: Any = None
        self.is_done = False


class _Together(ParallelBackendBase):
    """The backend of the context, which gives each `Parallel` its own backend.

    joblib uses threads instead where memory must be shared.

    Parameters
    ----------
    processes : ParallelBackendBase
        Backend that provides the processes.
    **others : object
        Parameters of the base class.
    """

    supports_sharedmem = False

    def __init__(self, processes: ParallelBackendBase, **others: Any) -> None:
        super().__init__(**others)
        self.processes = processes

    @property
    def default_n_jobs(self) -> int:
        """Number of processes, if the search names none."""
        return int(self.processes.default_n_jobs)

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return the number of processes."""
        return int(self.processes.effective_n_jobs(n_jobs))

    def configure(
        self, n_jobs: int | None = 1, parallel: Any = None, **parameters: Any
    ) -> int:
        """Hand over to a backend that collects the calls of one `Parallel`."""
        raise FallbackToBackend(
            _CollectingBackend(self.processes, nesting_level=self.nesting_level)
        )


class _CollectingBackend(_Together):
    """A joblib backend that collects all calls before it runs the first one."""

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return the number of calls to collect."""
        return _QUEUE_LENGTH

    def configure(
        self, n_jobs: int | None = 1, parallel: Any = None, **parameters: Any
    ) -> int:
        """Set the number of processes."""
        self._n_processes = super().effective_n_jobs(n_jobs)
        self._jobs: list[_Job] = []
        self.parallel = parallel
        return self.effective_n_jobs(n_jobs)

    def submit(self, func: Any, callback: Any = None) -> _Job:
        """Collect a batch of calls."""
        job = _Job(func, callback)
        self._jobs.append(job)
        return job

    def retrieve_result(self, out: _Job, timeout: float | None = None) -> Any:
        """Return the result of a batch; run all collected batches first if needed."""
        if not out.is_done:
            self._run_jobs()
        return out.result

    def get_nested_backend(self) -> tuple[ParallelBackendBase, int | None]:
        """Run calls within calls one after the other."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None

    def _run_jobs(self) -> None:
        jobs, self._jobs = self._jobs, []
        n_shares = min(self._n_processes, len(jobs))
        shares = [jobs[first::n_shares] for first in range(n_shares)]
        outlines, shared = outline([job.function for job in jobs])
        found = Parallel(n_jobs=n_shares, backend=self.processes, batch_size=1)(
            delayed(_call_share)(outlines[first::n_shares], *shared)
            for first in range(n_shares)
        )
        for share, results in zip(shares, found, strict=True):
            for job, result in zip(share, results, strict=True):
                job.result, job.is_done = result, True
        for job in jobs:
            job.callback(job)
