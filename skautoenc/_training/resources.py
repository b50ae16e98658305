"""Threads and devices for an amount of work."""

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

# Floating point operations of a step below which a second thread costs more time than
# it saves (measured on two cores), and below which moving to an accelerator does.
_WORTH_THREADS = 2e8
_WORTH_ACCELERATOR = 1e9

_lock = threading.Lock()
_running = 0
_ambient = 1
_nested = threading.local()
_has_computed = False


def _after_fork() -> None:
    """Prevent a forked process from waiting for OpenMP threads, which it lacks."""
    global _lock, _ambient, _running
    _lock = threading.Lock()
    # Other threads of the parent do not exist here, and what they compute does not
    # count.
    _running = int(getattr(_nested, "depth", 0) > 0)
    if _has_computed:
        _ambient = 1
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def step_work(n_multiplications: int, batch_size: int) -> float:
    """Estimate the floating point operations of one training step.

    Each multiplication by a weight comes with an addition. There is one in the forward
    pass and two in the backward pass.
    """
    return 6.0 * n_multiplications * batch_size


def resolve_device(device: str | torch.device, work: float) -> torch.device:
    """Choose the device to compute on.

    Parameters
    ----------
    device : str or torch.device
        "auto" or a device of torch.
    work : float
        Floating point operations of one step, from `step_work`.

    Returns
    -------
    torch.device
        For "auto", the accelerator if there is one and a step is large enough.

    Raises
    ------
    ValueError
        If the device is unknown or not available.
    """
    if device == "auto":
        if work > _WORTH_ACCELERATOR and torch.accelerator.is_available():
            accelerator = torch.accelerator.current_accelerator()
            if accelerator is not None:
                return accelerator
        return torch.device("cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
        torch.Generator(chosen)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = str(error).partition("\n")[0]
        if str(device) == "gpu":
            reason = "torch calls a GPU 'cuda', 'mps' or 'xpu'"
        raise ValueError(
            f"device={str(device)!r} cannot be used on this machine ({reason}). "
            "Use device='auto' or 'cpu'."
        ) from error
    return chosen


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the device or on the host."""
    # For host memory, torch raises a plain RuntimeError.
    told = "can't allocate memory", "not enough memory"
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in told)
    )


@contextmanager
def compute(work: float, device: torch.device) -> Iterator[None]:
    """Set torch's number of threads for the amount of work, and disable autocast.

    Small steps run on one thread. Larger ones share the threads of the process with its
    other fits: a search with joblib's threading backend would otherwise use more
    threads than the machine has.

    Parameters
    ----------
    work : float
        Floating point operations of one step.
    device : torch.device
        Device that the work is done on.

    Notes
    -----
    torch has one number of threads for the process, which new threads inherit, and one
    for each thread that has computed. Therefore the number from before the first of
    several simultaneous fits is restored after each of them.

    A process that is forked later uses one thread, as workers of torch's loaders do.
    """
    global _running, _ambient, _has_computed
    before = torch.get_num_threads()
    depth = getattr(_nested, "depth", 0)
    with _lock:
        if _running == 0:
            _ambient = before
        _running += depth == 0
        _has_computed = True
        share = max(1, _ambient // _running)
        torch.set_num_threads(1 if work < _WORTH_THREADS else share)
    _nested.depth = depth + 1
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        _nested.depth = depth
        with _lock:
            _running -= depth == 0
            torch.set_num_threads(before if depth else _ambient)


def n_threads() -> int:
    """Return the number of threads that large work of this fit may use.

    Within `one_thread`, too: this is for work whose result does not depend on it.
    """
    with _lock:
        ambient = _ambient if _running else torch.get_num_threads()
        return max(1, ambient // max(1, _running))


def one_thread(device: torch.device) -> AbstractContextManager[None]:
    """Set torch's number of threads to one, as `compute` does for little work.

    Factorisations can give different bits for another number of threads.
    """
    return compute(0, device)
