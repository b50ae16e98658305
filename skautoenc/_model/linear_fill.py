"""Linear predictions of missing cells, averaged with those of the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from .._data.columns import Table
from .._data.rows import TrainingData
from .normal import Floats, Normal, learn_normal, work_of

Matrix = NDArray[np.float32]
# Maps encoded rows to predictions of their missing cells.
Predict = Callable[[Matrix], "Predictions"]

# Maximum number of variables, so that equations are solved by one thread, and of
# multiplications in an iteration. Numbers of categories of a column to try.
_MOST_VARIABLES, _MOST_WORK = 200, 1e9
_N_CATEGORIES = 8, 4, 2, 1, 0
# Fewer rows do not tell how a category differs from others.
_FEWEST_OF_CATEGORY = 3
# Share of the linear predictions of numbers and of categories before anything is known,
# and its uncertainty: first of a common share of all columns, then of the difference of
# a column's own from it.
_FIRST_SHARE, _FIRST_OF_CATEGORIES, _COMMON, _OWN = 0.85, 0.5, 0.25, 0.3
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
class Predictions:
    """Predictions of missing cells; others mean nothing.

    Parameters
    ----------
    numbers : ndarray of shape (n, n_numbers)
        Scaled numbers.
    chances : ndarray of shape (n, sum(n_levels))
        Probabilities of the categories of each column.
    """

    numbers: NDArray[Any]
    chances: NDArray[Any]

    def rows(self, n_levels: Sequence[int]) -> Matrix:
        """Return numbers, and codes of the likeliest categories, (n, n_cells)."""
        codes = [
            self.chances[:, start:stop].argmax(axis=1)
            if stop > start
            else np.zeros(len(self.chances), np.int64)
            for start, stop in bounds(n_levels)
        ]
        cells = [self.numbers, *(code[:, None] for code in codes)]
        return np.hstack(cells).astype(np.float32)


@dataclass(frozen=True)
class LinearFill:
    """Averages the predictions of a network with linear ones.

    A network needs many rows to learn how predictions depend on which cells are
    missing. A joint normal distribution of all cells implies a linear prediction for
    each set of missing cells. It is more accurate for tables of few rows whose columns
    depend on each other linearly.

    Parameters
    ----------
    n_levels : tuple of int
        Number of categories of each categorical column.
    variables : Variables
        Variables of the distribution.
    normal : Normal
        The distribution.
    shares : ndarray of shape (n_cells,), float64
        Weights of the linear predictions of numbers, then of categories; the rest is
        that of the network.
    """

    n_levels: tuple[int, ...]
    variables: Variables
    normal: Normal
    shares: Floats

    def average(self, network: Predictions, matrix: Matrix) -> Predictions:
        """Return averages of predictions.

        Parameters
        ----------
        network : Predictions
            Those of the network.
        matrix : ndarray of shape (n, n_inputs)
            The encoded rows; NaN for missing values.
        """
        n_numbers, missing = self.variables.n_numbers, np.isnan(matrix)
        codes = missing[:, matrix.shape[1] - len(self.n_levels) :]
        gaps = np.hstack([missing[:, :n_numbers], codes]) & (self.shares > 0)
        rows = np.flatnonzero(gaps.any(axis=1))
        if not len(rows):
            return network
        gaps = gaps[rows]
        expected = self.normal.expected(self.variables.of(matrix[rows]))
        numbers, chances = network.numbers.copy(), network.chances.copy()
        before = numbers[rows]
        after = before + self.shares[:n_numbers] * (expected[:, :n_numbers] - before)
        numbers[rows] = np.where(gaps[:, :n_numbers], after, before)
        for place, (start, stop) in enumerate(bounds(self.n_levels)):
            some = np.flatnonzero(gaps[:, n_numbers + place])
            thought = network.chances[rows[some], start:stop].astype(np.float64)
            found = self._chances(expected[some], thought, place)
            found = thought + self.shares[n_numbers + place] * (found - thought)
            chances[rows[some], start:stop] = found
        return Predictions(numbers, chances)

    def _chances(self, expected: Floats, network: Floats, place: int) -> Floats:
        """Return probabilities of the categories of a column, (n, n_levels).

        Categories without an indicator share what the others leave, as the network
        thinks.
        """
        of_column = self.variables.codes[0] == len(self.n_levels) - place
        if not of_column.any():
            return network
        codes = self.variables.codes[1, of_column]
        others = np.ones(network.shape[1], dtype=bool)
        others[codes] = False
        indicators = expected[:, self.variables.n_numbers :][:, of_column].clip(0, 1)
        left = np.maximum(1 - indicators.sum(axis=1, keepdims=True), 0)
        total = network[:, others].sum(axis=1, keepdims=True)
        found: Floats = network * (left / np.maximum(total, 1e-12))
        found[:, codes] = indicators
        return found

    def attributes(self) -> dict[str, Any]:
        """Return the fitted attributes."""
        found = self.variables.codes, self.normal.mean, self.normal.precision
        return dict(zip(NO_LINEAR_FILL, (*found, self.shares), strict=True))

    @classmethod
    def from_attributes(
        cls, attributes: Mapping[str, Any], n_levels: tuple[int, ...]
    ) -> LinearFill | None:
        """Return what the attributes describe; None if there is nothing."""
        codes, mean, precision, shares = map(attributes.get, NO_LINEAR_FILL)
        if codes is None or mean is None or precision is None or shares is None:
            return None
        variables = Variables(len(mean) - codes.shape[1], codes)
        return cls(n_levels, variables, Normal(mean, precision), shares)


def bounds(widths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Iterate over first columns and ends of parts that are side by side."""
    return pairwise(accumulate(widths, initial=0))


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
        network, n_levels = predict(given), table.layout.n_levels
        alone = np.ones(table.layout.n_cells)
        fill = LinearFill(n_levels, variables, normal, alone)
        linear = fill.average(network, given)
        shares = _shares(linear, network, targets, _counts(held_out), n_levels)
        if not shares.any():
            return None
        normal = learn_normal(variables.of(whole.matrix), _counts(whole), normal)
    return None if normal is None else replace(fill, normal=normal, shares=shares)


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


def _shares(
    linear: Predictions,
    network: Predictions,
    targets: Matrix,
    weights: Floats,
    n_levels: Sequence[int],
) -> Floats:
    """Return the shares of linear predictions with the least squared error, shrunk.

    Parameters
    ----------
    linear, network : Predictions
        Two predictions of held-out rows.
    targets : ndarray of shape (n, n_inputs)
        The encoded cells to predict, NaN where there is none.
    weights : ndarray of shape (n,)
        Weights of the rows.
    n_levels : sequence of int
        Number of categories of each categorical column.
    """
    n_numbers = network.numbers.shape[1]
    numbers = [
        _gain(linear.numbers[:, [n]], network.numbers[:, [n]], targets[:, [n]], weights)
        for n in range(n_numbers)
    ]
    categories = []
    for place, (start, stop) in enumerate(bounds(n_levels)):
        cells = targets[:, [targets.shape[1] - len(n_levels) + place]]
        wanted = np.where(np.isnan(cells), np.nan, cells == np.arange(stop - start))
        # Rare and unknown categories cannot be predicted.
        wanted[cells[:, 0] >= stop - start] = np.nan
        of_column = slice(start, stop)
        pair = linear.chances[:, of_column], network.chances[:, of_column]
        categories.append(_gain(*pair, wanted, weights))
    return np.concatenate(
        [_shrunk(numbers, _FIRST_SHARE), _shrunk(categories, _FIRST_OF_CATEGORIES)]
    )


def _gain(
    linear: NDArray[Any], network: NDArray[Any], wanted: NDArray[Any], weights: Floats
) -> tuple[float, float]:
    """Return how the squared error of a column depends on the share.

    Parameters
    ----------
    linear, network, wanted : ndarray of shape (n, n_values)
        Two predictions and what was held out, a number or a probability of each
        category; NaN where there is nothing.
    weights : ndarray of shape (n,)
        Weights of the rows.

    Returns
    -------
    slope, curvature : float
        The quotient is the best share. The unit is the network's error.
    """
    known = ~np.isnan(wanted).any(axis=1)
    shares = weights[known, None]
    first = network[known].astype(np.float64)
    differences, errors = linear[known] - first, wanted[known] - first
    unit = max((shares * errors**2).sum() / max(shares.sum(), 1e-9), 1e-9)
    slope = (shares * differences * errors).sum() / unit
    return float(slope), float((shares * differences**2).sum() / unit)


def _shrunk(gains: Sequence[tuple[float, float]], first: float) -> Floats:
    """Return shares, drawn to a common one, and that to the first."""
    slopes, curvatures = np.array(gains).reshape(-1, 2).T
    common = (slopes.sum() + first / _COMMON**2) / (curvatures.sum() + 1 / _COMMON**2)
    own = (slopes + common / _OWN**2) / (curvatures + 1 / _OWN**2)
    # There is nothing to average where both are the same.
    is_small = (own < _LEAST_SHARE) | (curvatures == 0)
    found: Floats = np.where(is_small, 0.0, np.minimum(own, 1.0))
    return found
