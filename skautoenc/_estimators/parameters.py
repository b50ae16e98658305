"""Errors for invalid parameters, which suggest what was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from numbers import Real
from typing import Any, ClassVar, Self

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import (
    InvalidParameterError,
    StrOptions,
    validate_parameter_constraints,
)

from .._about import DOCS_URL, class_page
from .._parallel.context import across
from .network_parameters import bind, network_parameters

# Names that other packages use, in lower case without punctuation.
_SYNONYMS = {
    "activation": {
        "sigmoid": "logistic",
        "swish": "silu",
        "linear": "identity",
        "none": "identity",
        "hyperbolictangent": "tanh",
        "rectifier": "relu",
        "lrelu": "leaky_relu",
    },
    "loss": {
        "mse": "squared_error",
        "mseloss": "squared_error",
        "meansquarederror": "squared_error",
        "l2": "squared_error",
        "gaussian": "squared_error",
        "smoothl1": "huber",
        "smoothl1loss": "huber",
        "bce": "binary_cross_entropy",
        "bceloss": "binary_cross_entropy",
        "bcewithlogitsloss": "binary_cross_entropy",
        "binarycrossentropy": "binary_cross_entropy",
        "crossentropy": "binary_cross_entropy",
        "logloss": "binary_cross_entropy",
        "bernoulli": "binary_cross_entropy",
        "poissonnllloss": "poisson",
        "counts": "poisson",
    },
    "normalization": {
        "bn": "batch",
        "batchnorm": "batch",
        "batchnorm1d": "batch",
        "batchnorm2d": "batch",
        "ln": "layer",
        "layernorm": "layer",
    },
    "sparsity": {
        "winnertakeall": "lifetime",
        "wta": "lifetime",
        "ksparse": "topk",
        "lasso": "l1",
        "kldivergence": "kl",
    },
    "corruption": {
        "mask": "masking",
        "dropout": "masking",
        "zeros": "masking",
        "gauss": "gaussian",
        "noise": "gaussian",
        "normal": "gaussian",
        "additive": "gaussian",
        "saltpepper": "salt_and_pepper",
        "impulse": "salt_and_pepper",
        "shuffle": "swap",
    },
    "learning_rate": {
        "fixed": "constant",
        "cosineannealing": "cosine",
    },
    "features": {
        "latent": "code",
        "encoding": "code",
        "embedding": "code",
        "bottleneck": "code",
        "all": "stack",
        "hidden": "stack",
        "linear": "spread",
        "onehot": "spread",
    },
    "scaling": {
        "zscore": "standard",
        "standardscaler": "standard",
        "rank": "quantile",
        "gaussrank": "quantile",
    },
    "likelihood": {
        "normal": "gaussian",
        "gauss": "gaussian",
        "binary": "bernoulli",
        "binarycrossentropy": "bernoulli",
        "bce": "bernoulli",
        "binomial": "bernoulli",
        "counts": "poisson",
        "nb": "negative_binomial",
        "negbin": "negative_binomial",
        "mse": "gaussian",
        "squarederror": "gaussian",
    },
    "covariance_type": {"full": "diag", "tied": "spherical", "isotropic": "spherical"},
    "n_components": {"mle": "auto"},
    "number_encoding": {"ple": "piecewise_linear", "fourier": "periodic"},
    "handle_unknown": {"ignore": "infrequent_if_exist", "raise": "error"},
}
# Suggestions for options that do not exist here.
_NEAREST = {
    "activation": {
        "softplus": "'silu'",
        "mish": "'silu'",
        "prelu": "'leaky_relu'",
        "relu6": "'relu'",
        "hardtanh": "'tanh'",
        "celu": "'elu'",
    },
    "loss": dict.fromkeys(
        ("mae", "meanabsoluteerror", "absoluteerror", "l1", "l1loss"), "'huber'"
    ),
    "learning_rate": {"invscaling": "'linear'", "adaptive": "'cosine'"},
    "solver": {
        "adamw": "'adam' with alpha=0.01 for one, its decoupled weight decay",
        "momentum": "'sgd', which has a momentum",
        "nesterov": "'sgd', which has a momentum",
        **dict.fromkeys(
            ("nadam", "radam", "amsgrad", "adamax", "adagrad", "rmsprop", "lbfgs"),
            "'adam'",
        ),
    },
}
# Suggestions for numbers.
_FOR_NUMBERS = {
    "autoencoder": "AutoencoderTransformer({0!r}) is an autoencoder with as many "
    "units.",
    "learning_rate": "Did you mean learning_rate_init={!r}?",
    "sparsity": "Did you mean sparsity_rate={!r}?",
    "corruption": "Did you mean corruption_rate={!r}?",
}
# Before that, of an estimator that has both.
_NOT_COMPONENTS = "n_components={0!r} limits the number of features; "
_SHARE_OF_VARIANCE = (
    "It is a number of units here. AutoencoderTransformer also takes a share of the "
    "variance, as PCA does."
)


def _refuse_to_share(name: str, why: str | None) -> str:
    """Return the message of a method that several processes cannot run together."""
    if why is None:
        what, advice = "partial_fit", "Call fit with the rows of each process instead."
    else:
        what, advice = f"{name}: {why}", "Fit it outside of the context."
    return f"train_across does not support {what}. {advice}"


class Parameters(BaseEstimator):
    """Parameters whose errors suggest what was probably meant.

    Estimators name it before `BaseEstimator`.
    """

    # Why several processes cannot train it, each with some of the rows.
    _why_alone: ClassVar[str | None] = None

    # In notebooks, the representation links to the reference and shows its texts.
    _doc_link_module = "skautoenc"
    _doc_link_template = class_page(DOCS_URL)

    def _get_params_html(self, deep: bool = True, doc_link: str = "") -> Any:
        """Return the table of parameters for notebooks, with tooltips.

        scikit-learn shows a tooltip only within a link. Without an address of the
        documentation, the link leads to the notebook itself.
        """
        return super()._get_params_html(deep, doc_link or "#")

    def _validate_params(self) -> None:
        """Raise the error of the first invalid parameter."""
        if across.get() is not None:
            raise ValueError(_refuse_to_share(type(self).__name__, self._why_alone))
        parameters = self.get_params(deep=False)
        for parameter, value in parameters.items():
            constraints = self._parameter_constraints.get(parameter)
            if not isinstance(constraints, list):
                continue
            options = [each for each in constraints if isinstance(each, StrOptions)]
            others = [each for each in constraints if each not in options]
            options = [_Sorted(each.options) for each in options]
            try:
                validate_parameter_constraints(
                    {parameter: [*options, *others]},
                    {parameter: value},
                    caller_name=type(self).__name__,
                )
            except InvalidParameterError as error:
                hint = _hint(parameter, value, options, parameters)
                message = " ".join(filter(None, (str(error), hint)))
                raise InvalidParameterError(message) from None

    def set_params(self, **params: Any) -> Self:
        """Set parameters of the estimator and of estimators in its parameters.

        Parameters
        ----------
        **params : dict
            Values by name; ``<parameter>__<name>`` is a parameter of the estimator in
            ``<parameter>``. ``network__<name>`` is an argument of the class or function
            in ``network``, which a ``functools.partial`` binds to the value.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If a parameter does not exist, or if its value has no parameters.
        """
        known = self.get_params(deep=False)
        params = self._with_bound_network(params, known.get("network"))
        for key in params:
            name, _, inner = key.partition("__")
            value = params.get(name, known.get(name))
            has_parameters = hasattr(value, "set_params") and not isinstance(
                value, type
            )
            if inner and name in known and not has_parameters:
                raise ValueError(_without_parameters(self, name, inner, value))
        super().set_params(**params)
        return self

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include the parameters of estimators in parameters, and
            the arguments of a `network` of your own.

        Returns
        -------
        dict
            Values by name.
        """
        params: dict[str, Any] = super().get_params(deep=deep)
        network = params.get("network") if deep else None
        if callable(network):
            found = network_parameters(network).items()
            params.update({f"network__{name}": value for name, value in found})
        return params

    def _with_bound_network(
        self, params: dict[str, Any], network: Any
    ) -> dict[str, Any]:
        """Replace ``network__<name>`` by a network with these arguments."""
        network = params.get("network", network)
        prefix = "network__"
        named = [name for name in params if name.startswith(prefix)]
        values = {name.removeprefix(prefix): params[name] for name in named}
        if not values or not callable(network):
            return params
        others = {k: v for k, v in params.items() if k not in named}
        return {**others, "network": bind(network, values, type(self).__name__)}


class _Sorted(StrOptions):
    """Options whose order in messages is the same in every run."""

    def __str__(self) -> str:
        return f"a str among {{{', '.join(map(repr, sorted(self.options)))}}}"


def _hint(
    parameter: str, value: Any, options: list[_Sorted], others: Iterable[str]
) -> str | None:
    """Return a suggestion for an invalid value."""
    if isinstance(value, Real) and not isinstance(value, bool):
        if parameter == "n_components" and 0 < float(value) < 1:
            return _SHARE_OF_VARIANCE
        told = _FOR_NUMBERS.get(parameter)
        if parameter == "autoencoder" and "n_components" in others:
            told = f"{_NOT_COMPONENTS}{told}"
        return told and told.format(value)
    valid = sorted(option for each in options for option in each.options)
    if value is None and "auto" in valid:
        return "Did you mean 'auto'?"
    key = _key(value)
    nearest = _NEAREST.get(parameter, {}).get(key)
    if nearest is not None:
        return f"The nearest is {nearest}."
    synonym = _SYNONYMS.get(parameter, {}).get(key)
    if synonym in valid:
        return f"Did you mean {synonym!r}?"
    by_key = {_key(option): option for option in valid}
    near = difflib.get_close_matches(key, by_key, n=1)
    return f"Did you mean {by_key[near[0]]!r}?" if near else None


def _key(value: Any) -> str:
    """Return the name of a value, a function or a class in lower case letters."""
    if not isinstance(value, str):
        # Functions of torch, and instances of its layers.
        is_code = callable(value)
        named = getattr(value, "__name__", type(value).__name__)
        value = named if is_code else ""
    return re.sub(r"[\W_]+", "", value.lower())


def _without_parameters(
    estimator: BaseEstimator, name: str, inner: str, value: Any
) -> str:
    """Return a message that says how to set the parameter `name__inner`."""
    told = f"{name}__{inner} of {type(estimator).__name__} cannot be set:"
    if name == "autoencoder":
        return f"{told} autoencoder is {value!r}. Pass an AutoencoderTransformer first."
    if name == "network":
        return f"{told} network is {value!r}. Pass the class of a network first."
    return f"{told} {name} is {value!r}, which has no parameters of its own."
