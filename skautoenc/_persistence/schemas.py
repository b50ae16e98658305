"""Schemas of fitted estimators, and checks that their attributes fit each other."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils.metadata_routing import MetadataRequest

from .._networks.dense import DenseAutoencoder
from .._networks.maps import ImageNetwork
from .._networks.restoring import MOST_LAYERS
from .._networks.tabular import TabularAutoencoder
from .._networks.variational import VariationalNetwork
from .._networks.weights import count_parameters
from .._objectives.likelihoods import LIKELIHOODS
from .._objectives.losses import LOSSES
from .tables import check_table

# Maximum number of autoencoders in a bag.
MOST_MEMBERS = 1000
# Multiplications for a row, and activations of its largest map, that take no time.
_MOST_WORK = 4_000_000
_WIDEST = 1_000_000
# Bytes of the largest feature map of an image: so many times those of the arrays that
# the estimator holds, and so many more.
_MOST_TIMES, _MOST_BYTES = 10, 64 * 2**20

Check = Callable[[Any], bool]


def is_a(*kinds: type | None) -> Check:
    """Return a check of the exact type: booleans are not numbers."""
    return lambda value: (None if value is None else type(value)) in kinds


def is_among(*values: Any) -> Check:
    return lambda value: value in values


def list_of(check: Check) -> Check:
    return lambda value: type(value) is list and all(map(check, value))


def or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def array(kind: type, n_dimensions: int) -> Check:
    def check(value: Any) -> bool:
        return (
            isinstance(value, np.ndarray)
            and value.dtype == kind
            and value.ndim == n_dimensions
            and (kind is object or bool(np.isfinite(value).all()))
        )

    return check


def counts(length: int) -> Check:
    """Return a check of tuples of `length` sizes."""
    return lambda value: (
        type(value) is tuple
        and len(value) == length
        and all(type(v) is int and v >= 0 for v in value)
    )


def is_scale(value: Any) -> bool:
    return type(value) is float and 0 < value < math.inf


def is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def is_seed(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**31


def _is_positive(value: Any) -> bool:
    """Whether a value is a positive number of any type."""
    return isinstance(value, Real) and bool(value > 0)  # type: ignore[operator]


def is_finite(value: Any) -> bool:
    return type(value) is float and math.isfinite(value)


Schema = dict[str, Check]

REAL = is_a(float)
MATRIX = or_none(array(np.float32, 2))
VECTOR = or_none(array(np.float32, 1))

# Attributes that unfitted estimators may have, too.
UNFITTED: Schema = {
    "_metadata_request": is_a(MetadataRequest),
    "_sklearn_output_config": is_a(dict),
}
# A prior that is a mixture of normal distributions.
MIXTURE: Schema = {
    "prior_weights_": or_none(array(np.float32, 1)),
    "prior_means_": or_none(array(np.float32, 2)),
    "prior_precisions_cholesky_": or_none(array(np.float32, 3)),
}
# Linear predictions of missing numbers, and their weights.
LINEAR_FILL: Schema = {
    "_linear_codes": or_none(array(np.int64, 2)),
    "_linear_mean": or_none(array(np.float64, 1)),
    "_linear_precision": or_none(array(np.float64, 2)),
    "_linear_shares": or_none(array(np.float64, 1)),
}
# Attributes that fitted estimators need not have.
OPTIONAL = {
    "feature_names_in_",
    "row_total_",
    *MIXTURE,
    *LINEAR_FILL,
    "prototypes_",
    "prototype_mean_",
    "prototype_map_",
    "_prototype_rate",
    "_random_state",
    "_optimizer_state",
    *UNFITTED,
}
ANY_ESTIMATOR: Schema = {
    **UNFITTED,
    "n_features_in_": is_count,
    "feature_names_in_": array(object, 1),
}
ANY_AUTOENCODER: Schema = {
    **ANY_ESTIMATOR,
    "features_": is_among("code", "sparse", "stack", "spread", "reconstruction"),
    "loss_function_": is_among(*LOSSES),
    "n_components_": is_count,
    "n_iter_": is_a(int),
    "loss_curve_": list_of(REAL),
    "loss_": REAL,
    "best_loss_": REAL,
    "validation_scores_": or_none(list_of(REAL)),
    "best_validation_score_": or_none(REAL),
    "n_dead_": is_a(int, None),
    "whitening_": MATRIX,
    "dewhitening_": MATRIX,
    "code_mean_": VECTOR,
    "code_whitening_": MATRIX,
    "code_dewhitening_": MATRIX,
    "_row_normalization": is_a(dict, None),
    "_loss_constants": is_a(dict),
    "_random_state": is_a(np.random.RandomState),
    "_optimizer_state": is_a(dict),
}
MATRIX_AUTOENCODER: Schema = {
    **ANY_AUTOENCODER,
    "mean_": array(np.float64, 1),
    "scale_": is_scale,
    "row_total_": is_scale,
}


def check_fitted(estimator: Any) -> Any:
    """Check that a fitted estimator is usable.

    Parameters
    ----------
    estimator : estimator
        An instance of a public class, with the attributes of its class.

    Returns
    -------
    model
        The model that the attributes describe.

    Raises
    ------
    ValueError
        If an attribute is invalid.
    Exception
        Of any type, if attributes do not fit each other.
    """
    kinds = estimator._fitted_schema
    for name in kinds.keys() & vars(estimator).keys():
        if not kinds[name](getattr(estimator, name)):
            raise ValueError(f"{name} is not what it must be")
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None:
        _require(len(names) == estimator.n_features_in_, "feature_names_in_")
        _require(all(isinstance(name, str) for name in names), "feature_names_in_")
    if hasattr(estimator, "network_"):
        _check_network(estimator)
    if hasattr(estimator, "image_shape_"):
        width = math.prod(estimator.image_shape_)
        _require(width == estimator.n_features_in_, "image_shape_")
    if hasattr(estimator, "patch_size_"):
        _check_patches(estimator)
    if hasattr(estimator, "_table"):
        check_table(estimator)
    if hasattr(estimator, "indicator_features_"):
        _check_imputer(estimator)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        # Overflows of numbers are no reason to refuse an estimator.
        warnings.simplefilter("ignore")
        model = estimator._make_model()
        if hasattr(estimator, "patch_size_"):
            _check_patch_maps(estimator, model.features.n_pooled)
        if hasattr(estimator, "estimators_"):
            widths = {each.n_features_in_ for each in estimator.estimators_}
            _require(widths == {estimator.n_features_in_}, "n_features_in_")
            model.check_sizes()
        if _is_quick(estimator):
            model.check_usable()
    return model


def _is_quick(estimator: Any) -> bool:
    """Whether applying the model to a row is as cheap as the file's size suggests.

    Only convolutions can be small and have large maps. The sizes of their maps follow
    from sizes that were compared with the weights, so they need not be applied.
    """
    if not all(map(_is_quick, getattr(estimator, "estimators_", []))):
        return False
    network = getattr(estimator, "network_", None)
    if not isinstance(network, ImageNetwork):
        return True
    work = network.n_multiplications - count_parameters(network)
    return work <= _MOST_WORK and max(network.widths) <= _WIDEST


def _require(truth: bool, name: str) -> None:
    if not truth:
        raise ValueError(f"{name} does not fit the other attributes")


def _check_network(estimator: Any) -> None:
    network = estimator.network_
    _require(len(network.widths) <= MOST_LAYERS, "network_")
    _require(network.widths[-1] == estimator.n_components_, "n_components_")
    if not isinstance(network, DenseAutoencoder | TabularAutoencoder):
        # Other networks have no activations except the code.
        _require(estimator.features_ != "stack", "features_")
    if estimator.features_ == "spread":
        _require(network.config.get("spreads") is True, "features_")
    if isinstance(network, VariationalNetwork):
        _check_likelihood(network, estimator)
        _check_prior(estimator)
    _check_code_whitening(estimator)
    _check_loss_constants(estimator)
    if hasattr(estimator, "mean_"):
        _check_preparation(estimator)
    if hasattr(estimator, "_optimizer_state"):
        _check_optimizer_state(network, estimator._optimizer_state)


def _check_likelihood(network: VariationalNetwork, estimator: Any) -> None:
    likelihood = LIKELIHOODS[estimator.likelihood_]
    loss = estimator.loss_function_
    _require(loss == likelihood.loss_name, "loss_function_")
    sizes = (1, estimator.n_features_in_) if likelihood.is_dispersed else (0,)
    _require(len(network.log_dispersion) in sizes, "network_")
    _require(network.config["likelihood"] == estimator.likelihood_, "likelihood_")
    for name in ("varies", "has_offset", "keeps_start"):
        _require(type(network.config[name]) is bool, "network_")


def _check_prior(estimator: Any) -> None:
    """Check that a mixture of codes is a distribution of codes of this width."""
    weights = getattr(estimator, "prior_weights_", None)
    names = "prior_means_", "prior_precisions_cholesky_"
    if weights is None:
        is_normal = all(getattr(estimator, name, None) is None for name in names)
        _require(is_normal, "prior_weights_")
        return
    _require(len(weights) > 0 and bool((weights > 0).all()), "prior_weights_")
    _require(math.isclose(weights.sum(), 1, abs_tol=1e-3), "prior_weights_")
    n_mixed, width = len(weights), estimator.n_components_
    for name, shape in zip(names, [(width,), (width, width)], strict=True):
        found = getattr(estimator, name)
        _require(found is not None and found.shape == (n_mixed, *shape), name)
    volumes = np.linalg.slogdet(estimator.prior_precisions_cholesky_)[1]
    _require(bool(np.isfinite(volumes).all()), names[1])


def _check_preparation(estimator: Any) -> None:
    """Check that the preparation of rows fits the number of features."""
    width, network = estimator.n_features_in_, estimator.network_
    _require(network.widths[0] == width, "n_features_in_")
    _require(len(estimator.mean_) == width, "mean_")
    if isinstance(network, ImageNetwork):
        shape = network.config["image_shape"]
        _require(shape == estimator.image_shape_, "image_shape_")
        _check_maps(network, estimator.mean_.nbytes)
    for name, other in (("whitening_", "dewhitening_"), ("dewhitening_", "whitening_")):
        _check_square(estimator, name, other, width)
    state = estimator._row_normalization
    if state is not None:
        sizes = {"regularization", "scale", "longest"}
        _require(state.keys() == {"mean", *sizes}, "_row_normalization")
        _require(array(np.float32, 1)(state["mean"]), "_row_normalization")
        _require(len(state["mean"]) == width, "_row_normalization")
        _require(all(_is_positive(state[k]) for k in sizes), "_row_normalization")


def _check_maps(network: ImageNetwork, n_bytes: int) -> None:
    """Refuse feature maps that need far more memory than all that a file holds."""
    n_bytes += sum(weight.nbytes for weight in network.parameters())
    n_needed = max(network.widths) * np.float32().nbytes
    if n_needed > _MOST_TIMES * n_bytes + _MOST_BYTES:
        raise ValueError(
            f"a feature map of one image takes {n_needed / 2**20:.0f} MiB, too much "
            f"for {n_bytes / 2**20:.1f} MiB of weights and means"
        )


def _check_code_whitening(estimator: Any) -> None:
    mean, width = estimator.code_mean_, estimator.n_components_
    for name in ("code_whitening_", "code_dewhitening_"):
        _check_square(estimator, name, "code_mean_", width)
    _require(mean is None or len(mean) == width, "code_mean_")
    _require((mean is None) == (estimator.code_whitening_ is None), "code_mean_")


def _check_square(estimator: Any, name: str, other: str, width: int) -> None:
    """Check that a map has the right shape, and exists only with its counterpart."""
    value = getattr(estimator, name)
    _require((value is None) == (getattr(estimator, other) is None), name)
    _require(value is None or value.shape == (width, width), name)


def _check_loss_constants(estimator: Any) -> None:
    constants = estimator._loss_constants
    # The loss itself checks the names.
    _require(all(map(REAL, constants.values())), "_loss_constants")
    _require(all(value > 0 for value in constants.values()), "_loss_constants")


def _check_optimizer_state(network: Any, state: dict[str, Any]) -> None:
    trained = [p.shape for p in network.parameters() if p.requires_grad]
    moments = state["moments"]
    _require(state.keys() == {"solver", "n_steps", "moments"}, "_optimizer_state")
    _require(is_finite(state["n_steps"]), "_optimizer_state")
    _require(len(moments) == len(trained), "_optimizer_state")
    for shape, arrays in zip(trained, moments, strict=True):
        for array in arrays.values():
            _require(array.dtype == np.float32, "_optimizer_state")
            _require(array.shape == shape, "_optimizer_state")


def _check_patches(estimator: Any) -> None:
    """Check that sizes, which nothing else limits, are plausible for the images."""
    *sides, n_channels = estimator.image_shape_
    sizes = estimator.patch_size_, estimator.padding_, estimator.grid_
    for side, size, padding, n_cells in zip(sides, *sizes, strict=True):
        _require(padding <= max(side, size), "padding_")
        _require(0 < size <= side, "patch_size_")
        _require(0 < n_cells <= side + 2 * padding - size + 1, "grid_")
    width, inner = math.prod(estimator.patch_size_) * n_channels, estimator.autoencoder_
    _require(inner.__sklearn_is_fitted__(), "autoencoder_")
    _require(inner.n_features_in_ == width, "autoencoder_")


def _check_imputer(estimator: Any) -> None:
    """Make sure that an imputer fits its autoencoder."""
    inner, width = estimator.autoencoder_, estimator.n_features_in_
    _require(inner.__sklearn_is_fitted__(), "autoencoder_")
    _require(inner.n_features_in_ == width, "autoencoder_")
    told = estimator.indicator_features_
    is_ascending = bool((np.diff(told) > 0).all())
    _require(is_ascending and bool(np.isin(told, range(width)).all()), "indicators")


def _count_similarities(estimator: Any, n_pooled: int) -> int:
    """Check that the arrays of prototypes fit each other; return the features."""
    prototypes, mean = estimator.prototypes_, estimator.prototype_mean_
    forward, rate = estimator.prototype_map_, estimator._prototype_rate
    if prototypes is None:
        _require(mean is None and forward is None and rate is None, "prototypes_")
        return 0
    n_prototypes = len(prototypes)
    _require(prototypes.shape[1] == n_pooled and n_prototypes > 0, "prototypes_")
    _require(mean is not None and len(mean) == n_prototypes, "prototype_mean_")
    _require(forward is not None and len(forward) == n_prototypes, "prototype_map_")
    _require(rate is not None, "prototypes_")
    n_features = int(forward.shape[1])
    _require(n_features == (estimator.n_components_ or n_prototypes), "prototype_map_")
    return n_features


def _check_patch_maps(estimator: Any, n_pooled: int) -> None:
    """Check that the maps of features fit the features and the images."""
    mean, code_map = estimator.code_mean_, estimator.code_map_
    _require((mean is None) == (code_map is None), "code_mean_")
    n_similarities = _count_similarities(estimator, n_pooled)
    n_features = estimator.n_components_ or n_pooled
    if n_similarities and estimator.n_components_ is not None:
        _require(code_map is None, "code_map_")
    else:
        if code_map is None:
            _require(n_features == n_pooled, "n_components_")
        else:
            _require(code_map.shape == (n_pooled, n_features), "code_map_")
            _require(len(mean) == n_pooled, "code_mean_")
        n_features += n_similarities
    shape = n_features, estimator.n_features_in_
    _require(estimator.decoder_map_.shape == shape, "decoder_map_")
    _require(estimator.decoder_mean_.shape == shape[1:], "decoder_mean_")
