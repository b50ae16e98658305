"""When to stop training, and which weights to keep."""

import math
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from .._networks.weights import own_array

# Differences between batches explain a last training loss of up to this multiple of the
# best one.
_FAR = 1.2


class Stopping:
    """Watch one loss per epoch, and keep the best weights.

    The loss is that of the held-out rows if there are any, and the training loss
    otherwise.

    Parameters
    ----------
    tensors : list of Tensor
        The trained tensors, before the first epoch.
    tol : float
        A loss counts as an improvement if it is lower by more than this.
    n_iter_no_change : int
        Maximum number of consecutive epochs without improvement.
    far : float or None, default=None
        A loss is far above the best one if it is higher by this; None for losses that
        are shares, of which a fifth more is far.
    """

    def __init__(
        self,
        tensors: list[Tensor],
        *,
        tol: float,
        n_iter_no_change: int,
        far: float | None = None,
    ) -> None:
        self._far = far
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.diverged = False
        self.best_loss = math.inf
        self._validated = False
        self._reference = math.inf
        self._stale = 0
        # Weights before the first epoch, until better ones are kept.
        self._first: list[Tensor] | None = _copies(tensors)
        self._latest: list[Tensor] | None = None
        self._kept: list[Tensor] | None = None
        # Weights after the epoch of the best training loss.
        self._after: list[Tensor] | None = None

    @property
    def has_weights(self) -> bool:
        """Whether any weights are kept."""
        return self._kept is not None

    @property
    def finished(self) -> bool:
        """Whether training should stop."""
        return self.diverged or self._stale >= self.n_iter_no_change

    def start_from(self, held_out: float, tensors: list[Tensor]) -> None:
        """Keep weights of an earlier fit, with their held-out loss."""
        self._validated = True
        self.best_loss = held_out
        self._kept = _copies(tensors)

    def update(
        self, loss: float, held_out: float | None, tensors: list[Tensor]
    ) -> None:
        """Record the losses of an epoch, and the weights at its end."""
        watched = loss if held_out is None else held_out
        self._validated = held_out is not None
        if not (math.isfinite(loss) and math.isfinite(watched)):
            self.diverged = True
            return
        latest = _copies(tensors)
        if watched < self.best_loss:
            self.best_loss = watched
            # A training loss belongs to the weights at the beginning of the epoch.
            self._kept = latest if self._validated else self._latest
            self._after = None if self._validated else latest
            if self._kept is not None:
                self._first = None
        self._latest = latest
        if watched < self._reference - self.tol:
            self._reference = watched
            self._stale = 0
        else:
            self._stale += 1

    def restore(self, tensors: list[Tensor]) -> None:
        """Restore the weights of the best held-out loss, or the last finite ones.

        Weights of a slightly lower training loss are not restored: the difference is
        noise of the batches. For a much lower one, see `best_epoch`.
        """
        finite = all(bool(tensor.isfinite().all()) for tensor in tensors)
        self.diverged = self.diverged or not finite
        if self._kept is not None and (self._validated or self.diverged):
            for tensor, kept in zip(tensors, self._kept, strict=True):
                tensor.copy_(kept)

    def best_epoch(self, loss: float) -> list[list[Tensor]]:
        """Return the weights before and after the best epoch, if it was far better.

        Parameters
        ----------
        loss : float
            Training loss of the last epoch.

        Returns
        -------
        list of list of Tensor
            Empty if held-out rows select the weights, or if the last epoch was about as
            good as the best one.
        """
        limit = (
            _FAR * self.best_loss if self._far is None else self.best_loss + self._far
        )
        is_far = loss > limit and loss > self.best_loss + self.tol
        if self._validated or self.diverged or not is_far:
            return []
        before = self._first if self._kept is None else self._kept
        return [weights for weights in (before, self._after) if weights is not None]

    def state(self) -> dict[str, Any]:
        """Copy the state after an epoch into plain values and arrays."""
        kept = self._kept
        is_best = self._after is not None and self._after is self._latest
        after = None if is_best else self._after
        return {
            "diverged": self.diverged,
            "best_loss": self.best_loss,
            "validated": self._validated,
            "reference": self._reference,
            "stale": self._stale,
            "kept": None if kept is None else [own_array(tensor) for tensor in kept],
            "after": None if after is None else [own_array(t) for t in after],
            "is_best": is_best,
        }

    def load(self, state: dict[str, Any], tensors: list[Tensor]) -> None:
        """Restore `state`; `tensors` are the trained tensors of that epoch."""
        self.diverged = state["diverged"]
        self.best_loss = state["best_loss"]
        self._validated = state["validated"]
        self._reference = state["reference"]
        self._stale = state["stale"]
        self._latest = _copies(tensors)
        self._kept = self._like_latest(state["kept"])
        is_best = state["is_best"]
        self._after = self._latest if is_best else self._like_latest(state["after"])

    def _like_latest(self, arrays: list[NDArray[Any]] | None) -> list[Tensor] | None:
        if arrays is None or self._latest is None:
            return None
        device = self._latest[0].device
        return [torch.tensor(array, device=device) for array in arrays]


def _copies(tensors: list[Tensor]) -> list[Tensor]:
    return [tensor.clone() for tensor in tensors]
