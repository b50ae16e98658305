"""`network__name` is an argument of a network of the user's own."""

import functools
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skautoenc
from skautoenc import AutoencoderTransformer, PatchAutoencoderTransformer


class Net(torch.nn.Module):
    """A network of a given width, with an activation."""

    def __init__(self, n_features, n_components, width=4, *, activation=torch.nn.Tanh):
        super().__init__()
        self.encode = torch.nn.Sequential(
            torch.nn.Linear(n_features, width),
            activation(),
            torch.nn.Linear(width, n_components),
        )
        self.decode = torch.nn.Linear(n_components, n_features)


def build(n_features, n_components, **others):
    return Net(n_features, n_components, **others)


def needs_width(width, n_features, n_components):
    return Net(n_features, n_components, width)


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(40, 5))


def make(network=Net, **others):
    return AutoencoderTransformer(
        2, network=network, max_iter=2, random_state=0, **others
    )


def width_of(estimator):
    return estimator.network_.module.encode[0].out_features


@pytest.mark.parametrize(
    "network",
    [Net, build, needs_width, functools.partial(Net, activation=torch.nn.ReLU)],
    ids=["class", "function with keywords", "without default", "partial"],
)
def test_arguments_reach_the_network(network, X):
    estimator = make(network)
    assert estimator.set_params(network__width=7) is estimator
    assert estimator.get_params()["network__width"] == 7
    assert width_of(estimator.fit(X)) == 7
    assert estimator.set_params(network__width=3).get_params()["network__width"] == 3
    # Other arguments that were bound stay so.
    if isinstance(network, functools.partial):
        assert network.keywords == {"activation": torch.nn.ReLU}
        assert isinstance(estimator.fit(X).network_.module.encode[1], torch.nn.ReLU)


def test_defaults_are_among_the_parameters():
    params = make().get_params()
    assert params["network__width"] == 4
    assert params["network__activation"] is torch.nn.Tanh
    assert not [name for name in params if name.startswith("network__n_")]
    assert "network__width" not in make().get_params(deep=False)
    assert "network__width" not in make(needs_width).get_params()
    assert not [name for name in make(None).get_params() if "__" in name]


def test_an_argument_may_come_with_its_network(X):
    estimator = make(None).set_params(network__width=6, network=Net)
    assert width_of(estimator.fit(X)) == 6


def test_clones_and_pickles_keep_arguments_and_share_none(X):
    estimator = make().set_params(network__width=7)
    copy = clone(estimator)
    estimator.set_params(network__width=3)
    assert copy.get_params()["network__width"] == 7
    fitted = pickle.loads(pickle.dumps(copy.fit(X)))
    np.testing.assert_array_equal(fitted.transform(X), copy.transform(X))
    assert width_of(clone(fitted).fit(X)) == 7


def test_searches_run_over_arguments(X):
    pipeline = make_pipeline(StandardScaler(), make())
    name = "autoencodertransformer__network__width"
    search = GridSearchCV(pipeline, {name: [1, 8]}, cv=2).fit(X)
    assert width_of(search.best_estimator_[-1]) == search.best_params_[name]
    expected = clone(pipeline).set_params(**{name: 8}).fit(X)
    assert width_of(expected[-1]) == 8


def test_a_nested_network_is_reached():
    patches = PatchAutoencoderTransformer(make())
    patches.set_params(autoencoder__network__width=9)
    assert patches.get_params()["autoencoder__network__width"] == 9


def test_files_name_the_arguments_that_load_needs(X, tmp_path):
    fitted = make().set_params(network__width=7).fit(X)
    path = tmp_path / "own"
    fitted.save(path)
    told = r"functools\.partial\(.*Net, width=7\)"
    for network in (None, Net, functools.partial(Net, width=6)):
        with pytest.raises(ValueError, match=told):
            skautoenc.load(path, network=network)
    for network in (fitted.network, functools.partial(Net, width=7)):
        again = skautoenc.load(path, network=network)
        np.testing.assert_array_equal(again.transform(X), fitted.transform(X))
        assert again.get_params()["network__width"] == 7


def test_checkpoints_tell_arguments_apart(X, tmp_path):
    one, other = (
        make(checkpoint=tmp_path).set_params(network__width=width).fit(X)
        for width in (7, 6)
    )
    assert (width_of(one), width_of(other)) == (7, 6)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2
    # The order in which arguments are set does not matter.
    first = make().set_params(network__width=7, network__activation=torch.nn.ReLU)
    second = make().set_params(network__activation=torch.nn.ReLU)
    second.set_params(network__width=7)
    assert list(first.network.keywords) == list(second.network.keywords)


def test_the_notebook_representation_takes_arguments():
    assert "AutoencoderTransformer" in make()._repr_html_()
