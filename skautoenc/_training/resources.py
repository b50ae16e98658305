"""Threads and devices: what a piece of work is worth."""

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

# Floating point operations of one step below which a second thread costs more than
# it brings (measured on two cores), and below which moving to an accelerator does.
_WORTH_THREADS = 2e8
_WORTH_ACCELERATOR = 1e9

_lock = threading.Lock()
_running = 0
_ambient = 1
_nested = threading.local()
_has_computed = False


def _after_fork() -> None:
    """Keep a forked process from waiting for OpenMP's threads, which stay behind."""
    global _lock, _ambient, _running
    _lock = threading.Lock()
    # The other threads, and what they compute, stay behind.
    _running = int(getattr(_nested, "depth", 0) > 0)
    if _has_computed:
        _ambient = 1
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def step_work(n_multiplications: int, batch_size: int) -> float:
    """Estimate the operations of one training step.

    A multiplication by a weight comes with an addition, and there is one on the way
    forward and two on the way back.
    """
    return 6.0 * n_multiplications * batch_size


def resolve_device(device: str | torch.device, work: float) -> torch.device:
    """Choose where to compute.

    Parameters
    ----------
    device : str or torch.device
        "auto" or a device of torch.
    work : float
        Floating point operations of one step, from `step_work`.

    Returns
    -------
    torch.device
        For "auto" the accelerator, if there is one and a step is worth it.

    Raises
    ------
    ValueError
        If the device is unknown or not on this machine.
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
        raise ValueError(
            f"device={str(device)!r} cannot be used on this machine ({reason}). "
            "Use device='auto' or 'cpu'."
        ) from error
    return chosen


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the device or beside it."""
    # torch has no class of its own for the memory of the CPU.
    told = "can't allocate memory", "not enough memory"
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in told)
    )


@contextmanager
def compute(work: float, device: torch.device) -> Iterator[None]:
    """Give torch as many threads as the work is worth, and float32 throughout.

    Small steps run on one thread; larger ones share the threads at hand with the
    other fits of this process, so that a search over joblib's threading backend does
    not ask for more than the machine has. An autocast of the user's is suspended.

    Parameters
    ----------
    work : float
        Floating point operations of one step.
    device : torch.device
        Where it is done.

    Notes
    -----
    torch has one number of threads for the process, which new threads inherit, and
    one for each thread that has computed. What was set before the first of several
    fits at once is therefore what each of them puts back.

    A process that is forked later has one thread, as workers of torch's loaders have.
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


def one_thread(device: torch.device) -> AbstractContextManager[None]:
    """Give torch one thread, as `compute` does for little work.

    Factorisations could give other bits on another number of threads.
    """
    return compute(0, device)
