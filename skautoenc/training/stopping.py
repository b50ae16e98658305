"""When to stop, and which weights to keep."""

import math

from torch import Tensor, nn

from ..networks.weights import all_finite, restore, snapshot


class Stopping:
    """Watch a loss an epoch, on held-out rows if there are any, and keep the best.

    Parameters
    ----------
    tol : float
        A loss counts as better when it is lower by more than this.
    n_iter_no_change : int
        Stop when this many epochs in a row were not better.
    """

    def __init__(self, *, tol: float, n_iter_no_change: int) -> None:
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.diverged = False
        self.best_loss = math.inf
        self._validated = False
        self._reference = math.inf
        self._stale = 0
        self._latest: dict[str, Tensor] | None = None
        self._kept: dict[str, Tensor] | None = None

    @property
    def has_weights(self) -> bool:
        """Whether any epoch was good enough to keep."""
        return self._kept is not None

    @property
    def finished(self) -> bool:
        """Whether to stop."""
        return self.diverged or self._stale >= self.n_iter_no_change

    def start_from(self, held_out: float, network: nn.Module) -> None:
        """Take note of the held-out loss of weights that were trained before."""
        self._validated = True
        self.best_loss = held_out
        self._kept = snapshot(network)

    def update(self, loss: float, held_out: float | None, network: nn.Module) -> None:
        """Take note of an epoch's losses and of the weights that it ended with."""
        watched = loss if held_out is None else held_out
        self._validated = held_out is not None
        if not (math.isfinite(loss) and math.isfinite(watched)):
            self.diverged = True
            return
        latest = snapshot(network)
        if watched < self.best_loss:
            self.best_loss = watched
            # A training loss tells of the weights that the epoch began with.
            self._kept = latest if self._validated else self._latest
        self._latest = latest
        if watched < self._reference - self.tol:
            self._reference = watched
            self._stale = 0
        else:
            self._stale += 1

    def restore(self, network: nn.Module) -> None:
        """Go back to the best held-out loss, or from weights or a loss not finite.

        A training loss that was lower a few epochs ago is no reason to go back: it
        is the noise of the batches.
        """
        self.diverged = self.diverged or not all_finite(network)
        if self._kept is not None and (self._validated or self.diverged):
            restore(network, self._kept)
