"""Threads and devices: what a piece of work is worth."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Floating point operations of one step below which a second thread costs more than
# it brings (measured on two cores), and below which moving to an accelerator does.
_WORTH_THREADS = 2e8
_WORTH_ACCELERATOR = 1e9

_lock = threading.Lock()
_running = 0


def step_work(n_parameters: int, batch_size: int) -> float:
    """Estimate the operations of one training step.

    A weight takes part in one multiplication and one addition a row, once forward
    and twice backward.
    """
    return 6.0 * n_parameters * batch_size


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
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"device={str(device)!r} cannot be used on this machine ({reason}). "
            "Use device='auto' or 'cpu'."
        ) from error
    return chosen


@contextmanager
def threads_for(work: float) -> Iterator[None]:
    """Give torch as many threads as the work is worth, then put them back.

    Small steps run on one thread; larger ones share the threads at hand with the
    other fits of this process, so that a search over joblib's threading backend does
    not ask for more than the machine has.

    Parameters
    ----------
    work : float
        Floating point operations of one step.
    """
    global _running
    before = torch.get_num_threads()
    with _lock:
        _running += 1
        allowed = 1 if work < _WORTH_THREADS else max(1, before // _running)
    torch.set_num_threads(allowed)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        with _lock:
            _running -= 1
