"""Tables from frames and arrays: validation, and the kinds of columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from .._warnings import warn
from .blocks import Blocks
from .cells import find_fault, unmasked
from .columns import CategoryColumn, DateColumn, NumberColumn, Table
from .explain import (
    explain,
    explain_ragged,
    refuse_dates,
    refuse_records,
    refuse_unread,
)
from .frames import Columns
from .objects import advise_on_objects

# scikit-learn's message may contain the whole array.
_LONGEST_REASON = 120


def check_columns(
    estimator: BaseEstimator,
    X: Any,
    *,
    table: Table | None = None,
    reset: bool | None = None,
    min_rows: int = 1,
    only_numbers: bool = True,
) -> Columns:
    """Check names, sizes and types. Values are checked when they are encoded.

    Parameters
    ----------
    estimator : BaseEstimator
        Estimator whose `n_features_in_` and `feature_names_in_` are set or compared.
    X : frame or array-like of shape (n_samples, n_features)
        The data.
    table : Table, optional
        The fitted table, to compare with.
    reset : bool, optional
        Whether the attributes of the estimator are set; by default, if there is no
        fitted table.
    min_rows : int, default=1
        Minimum number of rows.
    only_numbers : bool, default=True
        Whether the values of an array must be numbers.

    Raises
    ------
    ValueError
        If `X` has the wrong shape, names or types, or holds infinity.
    TypeError
        If `X` is not data, but something that yields data.
    """
    if isinstance(X, Blocks):
        X.__array__()  # Raises the error that says where blocks can be passed.
    refuse_unread(X)
    reset = table is None if reset is None else reset
    if not hasattr(X, "columns"):
        return Columns(
            _check_array(
                estimator,
                X,
                reset=reset,
                dtype="numeric" if only_numbers else None,
                min_rows=min_rows,
            )
        )
    columns = Columns(X)
    validate_data(estimator, columns.native, reset=reset, skip_check_array=True)
    if columns.n_rows < min_rows:
        raise ValueError(
            f"Found array with {columns.n_rows} sample(s) (shape="
            f"{(columns.n_rows, len(columns))}) while a minimum of {min_rows} "
            "is required."
        )
    if len(columns) == 0:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={(columns.n_rows, 0)}) "
            "while a minimum of 1 is required."
        )
    if table is not None:
        for place, column in enumerate(table.columns):
            columns.check_type(place, column.kind)
    return columns


def _check_array(
    estimator: BaseEstimator, X: Any, *, reset: bool, dtype: str | None, min_rows: int
) -> NDArray[Any]:
    refuse_records(X)
    X = unmasked(X)
    try:
        if dtype is not None:
            refuse_dates(X)
        # Values of longdouble that float64 does not hold become infinite.
        with np.errstate(over="ignore"):
            array: NDArray[Any] = validate_data(
                estimator,
                X,
                reset=reset,
                dtype=dtype,
                ensure_all_finite="allow-nan",
                ensure_min_samples=min_rows,
            )
    except (ValueError, TypeError, OverflowError) as error:
        better = _explain_table(X, error) or explain(estimator, X, error)
        if better is None:
            raise
        raise better from error
    return array


def _explain_table(X: Any, error: Exception) -> Exception | None:
    """Return the error of the first cell that is not a number, or of all cells."""
    ragged = explain_ragged(X)
    if ragged is not None:
        return ragged
    kind = TypeError if isinstance(error, TypeError) else ValueError
    fault = find_fault(X)
    if fault is not None:
        reason = f" ({error})" if len(str(error)) <= _LONGEST_REASON else ""
        return kind(f"{fault}{reason}")
    if np.asarray(X).dtype.kind in "SUT":
        return ValueError(
            "X is an array of strings, all of which are numbers. Convert it, with "
            "X.astype(float), or name the columns that are categories in "
            "categorical_features."
        )
    return None


def names_columns(categorical_features: Any, column_kinds: Any) -> bool:
    """Whether parameters determine the kinds of columns."""
    is_set = not (categorical_features is None or isinstance(categorical_features, str))
    return is_set or bool(column_kinds)


def named_kinds(
    columns: Columns,
    categorical_features: Any,
    column_kinds: Mapping[Any, str] | None,
    refuse: Callable[[str, str], NoReturn],
) -> dict[int, str]:
    """Map the positions of columns whose kind is set by a parameter to that kind.

    Parameters
    ----------
    columns : Columns
        The data.
    categorical_features : "from_dtype", array-like or None
        Names, positions or a mask of categorical columns.
    column_kinds : mapping or None
        Kinds of columns, by name or position.
    refuse : callable
        Raises the error of a parameter, given its name and a description of valid
        values.

    Raises
    ------
    ValueError
        If a parameter names a column that does not exist, or a kind that is impossible.
    """
    if names_columns(categorical_features, None):
        chosen = np.asarray(categorical_features)
    else:
        chosen = np.asarray([])
    if chosen.dtype == bool:
        if len(chosen) != len(columns):
            refuse("categorical_features", f"a mask of {len(columns)} columns")
        chosen = np.flatnonzero(chosen)
    given: dict[str, Mapping[Any, str]] = {
        "categorical_features": dict.fromkeys(chosen.tolist(), "category"),
        "column_kinds": column_kinds or {},
    }
    named = {}
    for parameter, kinds in given.items():
        for name, kind in kinds.items():
            place = columns.place(name)
            if place is None:
                refuse(parameter, "made of columns of X")
            if not columns.can_be(place, kind):
                raise ValueError(
                    f"Column {name!r} cannot be taken for a {kind}, as column_kinds "
                    f"says: it holds {columns.type_name(place)}. Convert it first."
                )
            named[place] = kind
    return named


def learn_table(
    columns: Columns,
    weights: NDArray[np.float64] | None,
    named: Mapping[int, str],
    *,
    scaling: str,
    min_frequency: float | None,
    max_categories: int | None,
    handle_unknown: str,
    max_bins: int | None = None,
) -> Table:
    """Learn scales, ranges and categories of all columns.

    Parameters
    ----------
    columns : Columns
        The data; all rows have positive weights.
    weights : ndarray of shape (n_samples,) or None
        Weights of the rows.
    named : mapping
        Kinds of columns by their position, where these differ from those of their
        types.
    scaling : {"standard", "quantile"}
        Scaling of numbers.
    min_frequency : int, float or None
        Minimum number of rows, or their minimum share, of a category with its own code.
    max_categories : int or None
        Maximum number of codes of a column, including that of the rare categories.
    handle_unknown : {"infrequent_if_exist", "error"}
        Treatment of a category that was not in `fit`.
    max_bins : int or None, default=None
        Maximum number of bins of a number or a date whose values are all rare. None
        means no bins.
    """
    found: list[Any] = []
    for place, name in enumerate(columns.names):
        kind = named.get(place) or columns.kind(place)
        column: Any
        if kind == "category":
            column = CategoryColumn(
                name,
                min_frequency=min_frequency,
                max_categories=max_categories,
                handle_unknown=handle_unknown,
            )
        elif kind == "date":
            column = DateColumn(name, is_text=columns.is_text(place))
        else:
            is_integer = columns.is_integer(place)
            column = NumberColumn(name, scaling, is_integer=is_integer)
        is_number = kind == "number"
        values = columns.numbers(place) if is_number else columns[place]
        column.fit(values, weights)
        if max_bins is not None and kind != "category":
            column.learn_bins(values, weights, max_bins)
        found.append(column)
    return Table(found)


def warn_of_kinds(columns: Columns, table: Table, named: Mapping[int, str]) -> None:
    """Warn of categories that are likely to be something else.

    Parameters
    ----------
    columns : Columns
        The data.
    table : Table
        What was learnt of the columns.
    named : mapping
        Kinds of columns that a parameter sets, by their position.
    """
    for place, column in enumerate(table.columns):
        if place in named or column.kind != "category" or not columns.is_text(place):
            continue
        told = advise_on_objects(column.name, columns[place])
        kind = column.suggested_kind()
        if told is not None:
            warn(told)
        elif kind is not None:
            warn(
                f"Column {column.name!r} holds nothing but {kind}s, as strings, and is "
                f"taken for a category. Say what it is, with column_kinds="
                f"{{{column.name!r}: {kind!r}}}, or with 'category' if it is one."
            )
