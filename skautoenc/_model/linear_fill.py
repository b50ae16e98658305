"""Linear predictions of missing numbers, averaged with those of the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from .._data.columns import Table
from .._data.rows import TrainingData
from .normal import Floats, Normal, learn_normal, work_of

Matrix = NDArray[np.float32]
# Maps encoded rows to decoded ones.
Predict = Callable[[Matrix], Matrix]

# Maximum number of variables, so that equations are solved by one thread, and of
# multiplications in an iteration. Numbers of categories of a column to try.
_MOST_VARIABLES, _MOST_WORK = 200, 1e9
_N_CATEGORIES = 8, 4, 2, 1, 0
# Fewer rows do not tell how a category differs from others.
_FEWEST_OF_CATEGORY = 3
# Share of the linear predictions before anything is known, and its uncertainty: first
# of a common share of all columns, then of the difference of a column's own from it.
_FIRST_SHARE, _COMMON, _OWN = 0.85, 0.25, 0.3
# Smaller shares are not worth the time.
_LEAST_SHARE = 0.02


@dataclass(frozen=True)
class Variables:
    """Numbers, and indicators of categories, of encoded rows.

    Parameters
    ----------
    n_numbers : int
        Number of leading columns of the matrix that are variables.
    codes : ndarray of shape (2, n_indicators), int64
        Column, counted from the end of the matrix (1 is the last), and code of the
        category that each indicator stands for.
    """

    n_numbers: int
    codes: NDArray[np.int64]

    def of(self, matrix: Matrix) -> Floats:
        """Return the variables of rows, (n, n_variables); NaN for missing values."""
        numbers = matrix[:, : self.n_numbers].astype(np.float64)
        columns, codes = self.codes
        cells = matrix[:, matrix.shape[1] - columns].astype(np.float64)
        indicators = np.where(np.isnan(cells), np.nan, cells == codes)
        return np.hstack([numbers, indicators])


@dataclass(frozen=True)
class LinearFill:
    """Fills missing numbers with averages of linear predictions and of a network's.

    A network needs many rows to learn how predictions depend on which cells are
    missing. A joint normal distribution of all cells implies a linear prediction for
    each set of missing cells. It is more accurate for tables of few rows whose columns
    depend on each other linearly.

    Parameters
    ----------
    variables : Variables
        Variables of the distribution.
    normal : Normal
        The distribution.
    shares : ndarray of shape (n_numbers,), float64
        Weights of the linear predictions; the rest is that of the network.
    """

    variables: Variables
    normal: Normal
    shares: Floats

    def average(self, rows: Matrix, matrix: Matrix) -> Matrix:
        """Return decoded rows in which missing numbers are averages.

        Parameters
        ----------
        rows : ndarray of shape (n, width)
            Predictions of the network: numbers, then categories.
        matrix : ndarray of shape (n, n_inputs)
            The encoded rows; NaN for missing values.
        """
        n_numbers = len(self.shares)
        gaps = np.isnan(matrix[:, :n_numbers]) & (self.shares > 0)
        chosen = np.flatnonzero(gaps.any(axis=1))
        if not len(chosen):
            return rows
        found, numbers = rows.copy(), rows[chosen, :n_numbers]
        linear = self.predict(matrix[chosen])
        mixed = numbers + self.shares * (linear - numbers)
        found[chosen, :n_numbers] = np.where(gaps[chosen], mixed, numbers)
        return found

    def predict(self, matrix: Matrix) -> Floats:
        """Return the expected numbers of rows, (n, n_numbers)."""
        found = self.normal.expected(self.variables.of(matrix))
        return found[:, : self.variables.n_numbers]

    def attributes(self) -> dict[str, Any]:
        """Return the fitted attributes."""
        found = self.variables.codes, self.normal.mean, self.normal.precision
        return dict(zip(NO_LINEAR_FILL, (*found, self.shares), strict=True))

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> LinearFill | None:
        """Return what the attributes describe; None if there is nothing."""
        codes, mean, precision, shares = map(attributes.get, NO_LINEAR_FILL)
        if codes is None or mean is None or precision is None or shares is None:
            return None
        return cls(Variables(len(shares), codes), Normal(mean, precision), shares)


# Attributes of models that fill with the predictions of the network alone.
NO_LINEAR_FILL: dict[str, None] = dict.fromkeys(
    ("_linear_codes", "_linear_mean", "_linear_precision", "_linear_shares")
)


def learn_linear_fill(
    table: Table,
    predict: Predict,
    training: TrainingData,
    held_out: TrainingData,
    whole: TrainingData,
) -> LinearFill | None:
    """Learn linear predictions, and their shares from cells that are held out.

    Parameters
    ----------
    table : Table
        The columns.
    predict : callable
        Predictions of the network.
    training : TrainingData
        A sample of the training rows.
    held_out : TrainingData
        Rows beside the values to predict, see `beside_targets`.
    whole : TrainingData
        A sample of rows with all their cells.

    Returns
    -------
    LinearFill or None
        None if no column gains by it.
    """
    variables = _choose_variables(table, training.matrix)
    if variables is None:
        return None
    # Several threads may round differently.
    with threadpool_limits(1):
        normal = learn_normal(variables.of(training.matrix), _counts(training))
        if normal is None:
            return None
        given, targets = np.hsplit(held_out.matrix, 2)
        linear = normal.expected(variables.of(given))[:, : variables.n_numbers]
        network = predict(given)[:, : variables.n_numbers]
        wanted = targets[:, : variables.n_numbers]
        shares = _shares(linear, network, wanted, _counts(held_out))
        if not shares.any():
            return None
        normal = learn_normal(variables.of(whole.matrix), _counts(whole), normal)
    return None if normal is None else LinearFill(variables, normal, shares)


def _choose_variables(table: Table, matrix: Matrix) -> Variables | None:
    """Choose as many categories as time allows; None if even numbers are too many."""
    for most in _N_CATEGORIES:
        variables = _with_most_frequent(table, matrix, most)
        missing = np.isnan(variables.of(matrix))
        is_small = missing.shape[1] <= _MOST_VARIABLES
        if is_small and work_of(missing) <= _MOST_WORK:
            has_pairs = variables.n_numbers > 0 and missing.shape[1] > 1
            return variables if has_pairs else None
    return None


def _with_most_frequent(table: Table, matrix: Matrix, most: int) -> Variables:
    """Return variables with up to `most` categories of each column."""
    layout, found = table.layout, []
    for place, n_levels in enumerate(layout.n_levels):
        column = len(layout.n_levels) - place
        cells = matrix[:, matrix.shape[1] - column]
        codes = cells[~np.isnan(cells)].astype(np.int64)
        counts = np.bincount(codes, minlength=n_levels)
        frequent = np.argsort(-counts[:n_levels], kind="stable")
        frequent = frequent[counts[frequent] >= _FEWEST_OF_CATEGORY]
        if counts[frequent].sum() == counts.sum():
            # The most frequent category is what the others differ from.
            frequent = frequent[1:]
        found += [(column, int(code)) for code in frequent[:most]]
    return Variables(layout.n_numbers, np.array(found, np.int64).reshape(-1, 2).T)


def _counts(data: TrainingData) -> Floats:
    """Return how many rows each row counts as."""
    if data.weights is None:
        return np.ones(len(data))
    weights = data.weights.astype(np.float64)
    counts: Floats = weights * (data.count / weights.sum())
    return counts


def _shares(linear: Floats, network: Matrix, wanted: Matrix, weights: Floats) -> Floats:
    """Return the shares of linear predictions of the least squared error, shrunk.

    Parameters
    ----------
    linear, network, wanted : ndarray of shape (n, n_numbers)
        Two predictions and the held-out values, NaN where there is none.
    weights : ndarray of shape (n,)
        Weights of the rows.
    """
    known = ~np.isnan(wanted)
    shares = np.where(known, weights[:, None], 0.0)
    differences = np.where(known, linear - network, 0.0)
    errors = np.where(known, np.nan_to_num(wanted) - network, 0.0)
    # In units of the network's error.
    unit = (shares * errors**2).sum(axis=0) / np.maximum(shares.sum(axis=0), 1e-9)
    unit = np.maximum(unit, 1e-9)
    slopes = (shares * differences * errors).sum(axis=0) / unit
    curvatures = (shares * differences**2).sum(axis=0) / unit
    common = (slopes.sum() + _FIRST_SHARE / _COMMON**2) / (
        curvatures.sum() + 1 / _COMMON**2
    )
    own = (slopes + common / _OWN**2) / (curvatures + 1 / _OWN**2)
    found: Floats = np.where(own < _LEAST_SHARE, 0.0, np.minimum(own, 1.0))
    return found
