"""Checks that the columns of a fitted table fit each other and the network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from .._data.bins import EXPONENTS, Bins
from .._data.columns import CategoryColumn, DateColumn, NumberColumn, Table
from .._data.libraries import LIBRARIES
from .._data.objects import MOST_PLACES
from .hashes import check_hashes_of_pandas

Check = Callable[[Any], bool]
# Maximum length of a date format: all fields, and some room for spaces.
_LONGEST_FORM = 1000


def _is(kind: type) -> Check:
    return lambda value: type(value) is kind


def _is_finite(value: Any) -> bool:
    return type(value) is float and math.isfinite(value)


def _is_scale(value: Any) -> bool:
    return _is_finite(value) and value > 0


def _is_bound(value: Any) -> bool:
    """Whether a value is None, a finite float, or an integer of 64 bits."""
    if type(value) is int:
        return -(2**63) <= value < 2**64
    return value is None or _is_finite(value)


def _is_cost(value: Any) -> bool:
    """Whether a value is a cost; NaN stands for no cost."""
    return type(value) is float and not value < 0 and not math.isinf(value)


def _is_quantiles(value: Any) -> bool:
    """Whether a value is None, or values and scores that both ascend."""
    if value is None:
        return True
    return (
        type(value) is tuple
        and len(value) == 2
        and all(isinstance(part, np.ndarray) and part.ndim == 1 for part in value)
        and all(part.dtype == np.float64 and len(part) > 0 for part in value)
        and len(value[0]) == len(value[1])
        and bool(np.isfinite(value[0]).all())
        # NaN makes this False, too.
        and all(bool((part[1:] >= part[:-1]).all()) for part in value)
        and not np.isnan(value[1]).any()
    )


def _is_bins(value: Any) -> bool:
    """Whether it is nothing, or bins that follow each other."""
    if value is None:
        return True
    if type(value) is not Bins:
        return False
    edges, levels, knots = value.edges, value.levels, value.knots
    arrays = edges, levels, knots
    if not all(isinstance(a, np.ndarray) and a.dtype == np.float64 for a in arrays):
        return False
    n_bins, n_knots = len(levels) - 1, knots.shape[-1]
    return (
        n_bins > 0
        and n_knots > 1
        and [a.shape for a in arrays] == [(n_bins - 1,), (n_bins + 1,), (2, n_knots)]
        and all(bool(np.isfinite(a).all()) for a in arrays)
        and all(bool((np.diff(a) >= 0).all()) for a in arrays)
        and all((a[0], a[-1]) == (0, 1) for a in (levels, knots[0]))
        and (value.exponent is None or type(value.exponent) is int)
        and value.exponent in (None, *EXPONENTS)
    )


def _is_form(value: Any) -> bool:
    """Whether a value is None or a date format of limited length."""
    if type(value) is not str:
        return value is None
    is_text = "%Y" in value and len(value) <= _LONGEST_FORM
    return is_text or value in ("date", "datetime", "Timestamp")


def _is_levels(value: Any) -> bool:
    """Whether a value is an index of distinct categories, none of them missing."""
    if not (type(value) is pd.Index and value.dtype == object):
        return False
    levels = value.tolist()
    check_hashes_of_pandas(levels)
    return len(set(levels)) == len(levels) and not value.hasnans


# A check for each attribute of a column. Attributes that older files lack have a
# default in the class.
_FIELDS: dict[type, dict[str, Check]] = {
    NumberColumn: {
        "scaling": lambda value: value in ("standard", "quantile"),
        "is_integer": _is(bool),
        "is_empty": _is(bool),
        "mean": _is_finite,
        "scale": _is_scale,
        "quantiles": _is_quantiles,
        "lowest": _is_bound,
        "highest": _is_bound,
        "bins": _is_bins,
        "form": lambda value: value in (None, "int", "float", "Decimal", "str"),
        "places": lambda value: type(value) is int and 0 <= value <= MOST_PLACES,
    },
    DateColumn: {
        "is_text": _is(bool),
        "is_empty": _is(bool),
        "has_times": _is(bool),
        "form": _is_form,
        "is_zoned": lambda value: value is None or type(value) is bool,
        "_time": _is(NumberColumn),
    },
    CategoryColumn: {
        "handle_unknown": lambda value: value in ("infrequent_if_exist", "error"),
        "levels": _is_levels,
        "rare": _is_levels,
        "has_infrequent": _is(bool),
        "is_empty": _is(bool),
        "rare_cost": _is_cost,
        "unknown_cost": _is_cost,
    },
}


def check_table(estimator: Any) -> None:
    """Check that a table fits the network, before any of it is used.

    Parameters
    ----------
    estimator : TabularAutoencoderTransformer
        Fitted estimator, whose attributes have the right types.

    Raises
    ------
    ValueError
        If they do not fit.
    Exception
        Of any type, if they are not even similar to valid ones.
    """
    table, schema = estimator._table, estimator._schema
    columns, width = table.columns, estimator.n_features_in_
    _require(type(columns) is list and len(columns) == width, "columns")
    for column in columns:
        _check_column(column)
    # Everything else follows from the columns. The table in a file may differ from it.
    made = Table(columns)
    _require(table.places == made.places, "places")
    # A file that is older than a field lacks it; the class has its default.
    expected = vars(made.layout)
    _require(vars(table.layout).keys() <= expected.keys(), "layout")
    same = [getattr(table.layout, name) == expected[name] for name in expected]
    _require(all(same), "layout")
    config = estimator.network_.config
    for name in ("n_numbers", "n_extras", "n_codes", "n_levels"):
        _require(config[name] == getattr(made.layout, name), name)
    _require(config.get("n_bins", ()) == made.layout.n_bins, "n_bins")
    _require(all(map(_is_finite, config.get("bin_centers", ()))), "bin_centers")
    _require(len(estimator._deviances) == len(made.layout.n_codes), "_deviances")
    _require(all(value > 0 for value in estimator._deviances), "_deviances")
    _check_linear_fill(estimator, made)
    kinds = estimator.column_kinds_
    _require(list(kinds.values()) == [c.kind for c in columns], "column_kinds_")
    _check_names(columns, list(kinds))
    if schema is not None:
        _require(schema.library in LIBRARIES, "library")
        _require(type(schema.types) is dict, "types")
        _require(type(schema.as_arrow) is bool, "as_arrow")
        _require(schema.library == "pandas" or not schema.as_arrow, "as_arrow")
        _check_names(columns, list(schema.types))


def _check_linear_fill(estimator: Any, table: Table) -> None:
    """Check that linear predictions are those of a distribution of the columns."""
    names = "_linear_codes", "_linear_mean", "_linear_precision", "_linear_shares"
    found: list[Any] = [getattr(estimator, name, None) for name in names]
    if all(value is None for value in found):
        return
    codes, mean, precision, shares = found
    layout = table.layout
    columns = codes[0]
    size = layout.n_numbers + len(columns)
    _require(codes.shape == (2, len(columns)), names[0])
    _require(bool(np.isin(columns, range(1, len(layout.n_levels) + 1)).all()), names[0])
    _require(mean.shape == (size,), names[1])
    _require(precision.shape == (size, size), names[2])
    _require(np.array_equal(precision, precision.T), names[2])
    # An error if it is not positive definite.
    np.linalg.cholesky(precision)
    _require(shares.shape == (layout.n_cells,), names[3])
    _require(bool(((shares >= 0) & (shares <= 1)).all()), names[3])


def _require(truth: bool, name: str) -> None:
    if not truth:
        raise ValueError(f"{name} of the table does not fit the rest")


def _check_names(columns: list[Any], names: list[Any]) -> None:
    _require(len(columns) == len(names), "names")
    for column, name in zip(columns, names, strict=True):
        # A name that is NaN differs from itself.
        same = column.name == name or (column.name != column.name and name != name)
        _require(bool(same), "names")


def _check_column(column: Any) -> None:
    _require(type(column) in _FIELDS, "columns")
    for name, check in _FIELDS[type(column)].items():
        _require(check(getattr(column, name)), name)
    if isinstance(column, DateColumn):
        time = column._time
        _check_column(time)
        _require(time.quantiles is None and not time.is_integer, "_time")
        _require(time.is_empty == column.is_empty, "_time")
        if time.lowest is not None and time.highest is not None:
            # Points in time are integers of 64 bits.
            _require(max(-time.lowest, time.highest) < 2**62, "_time")
    elif isinstance(column, NumberColumn):
        wanted = column.scaling == "quantile" and not column.is_empty
        _require((column.quantiles is not None) == wanted, "quantiles")
        _check_range(column)
    else:
        _require(column.has_infrequent == (len(column.rare) > 0), "has_infrequent")
        _require(column.is_empty == (len(column.levels) == 0), "is_empty")


def _check_range(column: NumberColumn) -> None:
    lowest, highest = column.lowest, column.highest
    _require((lowest is None) == (highest is None), "lowest")
    if lowest is None or highest is None:
        return
    kind = int if column.is_integer else float
    _require(type(lowest) is kind and type(highest) is kind, "lowest")
    _require(lowest <= highest, "lowest")
    # There must be a type of 64 bits that holds both.
    _require(lowest >= 0 or highest < 2**63 or kind is float, "highest")
