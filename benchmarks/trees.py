"""Trees on the raw columns of a frame: boosting tuned by a search, and a forest.

They are the rivals of linear models in `benchmarks.tables`. Missing values stay
missing. Categories are integers, which boosting treats as categories and the forest as
numbers.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import loguniform, randint, uniform
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.model_selection import RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

N_CANDIDATES = 20
N_INNER_FOLDS = 3
# Boosting takes up to 255 categories.
MAX_CATEGORIES = 250
SPACE = {
    "learning_rate": loguniform(0.02, 0.3),
    "max_leaf_nodes": randint(3, 48),
    "min_samples_leaf": randint(5, 100),
    "l2_regularization": loguniform(1e-3, 10),
    "max_features": uniform(0.3, 0.7),
}
# The measure of classes, and that of numbers.
SCORING = {True: "roc_auc_ovr", False: "r2"}

NUMBERS = make_column_selector(dtype_include="number")
CATEGORIES = make_column_selector(dtype_exclude="number")


def make_columns() -> Any:
    """Return the encoder of a frame: numbers as they are, then categories."""
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        max_categories=MAX_CATEGORIES,
    )
    return make_column_transformer(("passthrough", NUMBERS), (codes, CATEGORIES))


def make_boosting(frame: pd.DataFrame, seed: int, *, is_class: bool) -> Any:
    """Return boosting with early stopping, tuned by a random search.

    Parameters
    ----------
    frame : DataFrame
        Rows with the columns of those to come.
    seed : int
        Seed of the candidates, of held-out rows and of the trees.
    is_class : bool
        Whether classes are predicted.
    """
    n_numbers = len(NUMBERS(frame))
    make = HistGradientBoostingClassifier if is_class else HistGradientBoostingRegressor
    model = make(
        max_iter=500,
        early_stopping=True,
        n_iter_no_change=20,
        categorical_features=list(range(n_numbers, frame.shape[1])),
        random_state=seed,
    )
    search = RandomizedSearchCV(
        model,
        SPACE,
        n_iter=N_CANDIDATES,
        cv=N_INNER_FOLDS,
        scoring=SCORING[is_class],
        random_state=seed,
    )
    return make_pipeline(make_columns(), search)


def make_forest(seed: int, *, is_class: bool) -> Any:
    """Return a random forest of 300 trees, which is not tuned."""
    model: Any
    if is_class:
        model = RandomForestClassifier(300, min_samples_leaf=3, random_state=seed)
    else:
        model = RandomForestRegressor(
            300, min_samples_leaf=3, max_features=1 / 3, random_state=seed
        )
    return make_pipeline(make_columns(), model)
