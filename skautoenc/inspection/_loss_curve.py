"""Losses per epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, check_consistent_length

from ._common import check_autoencoder, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D


class LossCurveDisplay:
    """Training and validation loss of an autoencoder at each epoch.

    Parameters
    ----------
    loss_curve : array-like of shape (n_epochs,)
        Training loss of each epoch, as a share of the variance.

    validation_scores : array-like of shape (n_epochs,), default=None
        Validation score of each epoch, an R². One minus the score is drawn, which is
        the share of variance left unexplained and so has the unit of the loss. A dot
        marks the best epoch, the first one if several are equal. If None, only the
        training loss is drawn.

    name : str, default=None
        Name of the autoencoder in the legend. If None, the legend shows no name.

    Attributes
    ----------
    line_ : matplotlib.lines.Line2D
        The training loss.

    validation_line_ : matplotlib.lines.Line2D or None
        The validation loss, None if there are no validation scores.

    ax_ : matplotlib.axes.Axes
        Axes with the curves.

    figure_ : matplotlib.figure.Figure
        Figure with the axes.

    Examples
    --------
    >>> from skautoenc.inspection import LossCurveDisplay
    >>> display = LossCurveDisplay(
    ...     [0.9, 0.4, 0.2, 0.1], validation_scores=[0.2, 0.6, 0.7, 0.6]
    ... ).plot()
    >>> display.validation_line_.get_label()
    'validation (best in epoch 3)'
    """

    def __init__(
        self,
        loss_curve: ArrayLike,
        *,
        validation_scores: ArrayLike | None = None,
        name: str | None = None,
    ) -> None:
        self.loss_curve = loss_curve
        self.validation_scores = validation_scores
        self.name = name

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the curves.

        The vertical axis is logarithmic when the losses are positive and span more
        than a decade: the slow progress of the late epochs would otherwise not be
        seen. Several displays may be drawn on the same axes: each takes the next
        colour, with a solid line for the training loss and a dashed one for the
        validation loss.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. If None, those of a new figure.

        Returns
        -------
        display : LossCurveDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no epoch, or not one validation score for each.

        Examples
        --------
        Two losses in one figure:

        >>> from skautoenc.inspection import LossCurveDisplay
        >>> display = LossCurveDisplay([0.9, 0.4, 0.2], name="narrow").plot()
        >>> other = LossCurveDisplay([0.8, 0.2, 0.1], name="wide").plot(display.ax_)
        >>> [text.get_text() for text in other.ax_.get_legend().get_texts()]
        ['narrow: training', 'wide: training']
        """
        loss = check_array(self.loss_curve, ensure_2d=False)
        scores = self.validation_scores
        if scores is not None:
            scores = check_array(scores, ensure_2d=False)
        check_consistent_length(loss, scores)
        self.ax_ = new_axes() if ax is None else ax
        self.figure_ = self.ax_.figure

        prefix = "" if self.name is None else f"{self.name}: "
        epochs = np.arange(1, len(loss) + 1)
        # A line of a single epoch has no length: only a marker shows it.
        marker = "." if len(loss) == 1 else ""
        (self.line_,) = self.ax_.plot(
            epochs, loss, label=f"{prefix}training", marker=marker
        )
        self.validation_line_: Line2D | None = None
        if scores is not None:
            best = int(np.argmax(scores))
            (self.validation_line_,) = self.ax_.plot(
                epochs,
                1 - scores,
                "--o",
                color=self.line_.get_color(),
                markeredgecolor="black",
                markevery=[best],
                label=f"{prefix}validation (best in epoch {best + 1})",
            )
        self._label_axes()
        return self

    def _label_axes(self) -> None:
        from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

        # All curves on the axes count, since displays may share them.
        losses = np.concatenate(
            [np.asarray(line.get_ydata()) for line in self.ax_.lines]
        )
        if losses.min() > 0 and losses.max() > 10 * losses.min():
            self.ax_.set_yscale("log")
            # Losses span few decades: ticks at powers of ten could be one only.
            self.ax_.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            self.ax_.yaxis.set_major_formatter("{x:g}")
            self.ax_.yaxis.set_minor_formatter(NullFormatter())
        self.ax_.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        self.ax_.set(
            title="Loss per epoch",
            xlabel="Epoch",
            ylabel="Share of variance left unexplained",
        )
        self.ax_.legend()

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, name: str | None = None, ax: Axes | None = None
    ) -> Self:
        """Draw the loss curves of a fitted autoencoder.

        The validation loss is drawn if all epochs were trained with
        `early_stopping=True`, including the epochs of earlier warm starts.

        Parameters
        ----------
        estimator : autoencoder
            A fitted autoencoder. For an autoencoder of patches, the losses of its
            `autoencoder_` are drawn.

        name : str, default=None
            Name of the autoencoder in the legend. If None, the legend shows no name.

        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. If None, those of a new figure.

        Returns
        -------
        display : LossCurveDisplay
            The display, already drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        sklearn.exceptions.NotFittedError
            If `estimator` is not fitted.
        TypeError
            If `estimator` is not an autoencoder, but a pipeline for instance.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from skautoenc import AutoencoderTransformer
        >>> from skautoenc.inspection import LossCurveDisplay
        >>> X, _ = load_digits(return_X_y=True)
        >>> autoencoder = AutoencoderTransformer(8, random_state=0).fit(X)
        >>> display = LossCurveDisplay.from_estimator(autoencoder)
        >>> display.ax_.get_xlabel()
        'Epoch'
        """
        check_autoencoder(estimator)
        estimator = getattr(estimator, "autoencoder_", estimator)
        losses, scores = estimator.loss_curve_, estimator.validation_scores_
        # After warm starts with and without early stopping, it is not known which
        # epochs the scores belong to.
        if scores is not None and len(scores) != len(losses):
            scores = None
        return cls(losses, validation_scores=scores, name=name).plot(ax)
