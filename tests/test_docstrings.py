"""Docstrings of public classes, methods and functions in numpydoc's format."""

import doctest
import inspect
import re
from collections import defaultdict

import pytest

import skautoenc
from skautoenc import datasets, inspection, onnx

docscrape = pytest.importorskip("numpydoc.docscrape")

PUBLIC = [
    value
    for module in (skautoenc, datasets, inspection, onnx)
    for value in (getattr(module, name) for name in module.__all__)
    if callable(value)
]
CLASSES = [value for value in PUBLIC if inspect.isclass(value)]
FUNCTIONS = [value for value in PUBLIC if not inspect.isclass(value)]
ESTIMATORS = [value for value in CLASSES if hasattr(value, "fit")]
GROUPS = [
    "autoencoder",
    "members",
    "threshold",
    "code",
    "likelihood",
    "labels",
    "network",
    "noise",
    "targets",
    "loss",
    "preparation",
    "solver",
    "output",
    "run",
]

D, C, T, P, V, S = (
    "AutoencoderTransformer",
    "ConvAutoencoderTransformer",
    "TabularAutoencoderTransformer",
    "PatchAutoencoderTransformer",
    "VariationalAutoencoder",
    "SemiSupervisedAutoencoder",
)
CV = "ConvVariationalAutoencoder"
OUTLIERS, IMPUTER = "AutoencoderOutlierDetector", "AutoencoderImputer"
# Classes that have their own text for a parameter or an attribute, and the reason.
OWN_TEXT = {
    # "auto" or the default suits the data and the network of the class.
    "n_components": (
        [D, C, T, P, V, S],
        "another default; of the patches' pooled codes; beside those of labels",
    ),
    "hidden_layer_sizes": ([D, T, V, S], "another 'auto'"),
    "learning_rate_init": ([D, C, T, V, S], "another 'auto'"),
    "max_iter": ([T, V, S], "another 'auto'"),
    "n_iter_no_change": ([V, S], "'auto', with its reason"),
    "early_stopping": ([V], "'auto', which keeps the initial weights too"),
    "n_neighbors": ([S], "labels spread, rows stay as they are"),
    "dropout": ([T], "says why it is not 0"),
    # The object it acts on differs.
    "activation": (
        [D, C, T, V, S],
        "maps of images, or hidden layers that may be missing",
    ),
    "linear_skip": (
        [D, C, V, CV],
        "convolutions, or hidden layers that may be missing",
    ),
    "normalization": ([D, C], "channels, or hidden layers that may be missing"),
    "corruption": ([T], "cells of a table may be missing"),
    "corruption_rate": ([T], "rates by column and kind of column"),
    "corruption_weight": ([T], "another 'auto'"),
    "loss": ([T], "categories have a loss of their own"),
    "features": ([T], "a table has no sparse code"),
    "whiten_code": ([P], "whitens the pooled codes"),
    "whiten_regularization": ([P], "also a ridge penalty"),
    "random_state": ([P, OUTLIERS, IMPUTER], "draws, and seeds of autoencoders"),
    "autoencoder": ([OUTLIERS, IMPUTER], "of any kind, or of tables"),
    # Fitted attributes.
    "n_components_": ([P, S], "of the pooled codes; with those of labels"),
    "n_iter_": ([S], "fits are not continued"),
    "mean_": ([P], "of all pixels"),
    "scale_": ([P], "of all pixels"),
    "code_mean_": ([P], "of the pooled codes"),
    "network_": ([D, C, T, V, S], "how its input is prepared"),
    "loss_curve_": ([T, V, S], "deviance of the columns; nats; labels"),
    "loss_": ([V], "nats"),
    "validation_scores_": ([V], "nats"),
    "hidden_layer_sizes_": ([V, S], "never None"),
    "autoencoder_": ([P], "of patches"),
}
# Classes whose texts are those of other classes.
LIKE = {CV: [V, C]}


def methods_of(cls):
    """Return the public methods that the package itself defines."""
    return [
        pytest.param(value, id=f"{cls.__name__}.{name}")
        for name, value in inspect.getmembers(cls, callable)
        if not name.startswith("_")
        and getattr(value, "__module__", "").startswith("skautoenc")
    ]


METHODS = [method for cls in CLASSES for method in methods_of(cls)]


def documented(entries):
    return [name for entry in entries for name in re.split(r",\s*", entry.name)]


def parameters_of(function):
    """Return the names in the signature, with their stars."""
    stars = {
        inspect.Parameter.VAR_POSITIONAL: "*",
        inspect.Parameter.VAR_KEYWORD: "**",
    }
    return [
        stars.get(parameter.kind, "") + name
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in ("self", "cls")
    ]


def lines_of(value):
    return inspect.cleandoc(value.__doc__).split("\n")


def entries_without_blank_line(value):
    """Return parameters and attributes without a blank line before them."""
    lines, found, section = lines_of(value), [], None
    for before, line, after in zip(["", *lines], lines, [*lines[1:], ""], strict=False):
        if after and set(after) == {"-"}:
            section = line
        is_entry = re.match(r"\*{0,2}\w[\w, ]* : ", line)
        if section in ("Parameters", "Attributes") and is_entry:
            is_first = before and set(before) == {"-"}
            if before and not is_first:
                found.append(line)
    return found


@pytest.mark.parametrize("cls", CLASSES)
def test_classes_document_every_parameter_in_order(cls):
    document = docscrape.ClassDoc(cls)
    names, expected = documented(document["Parameters"]), parameters_of(cls.__init__)
    if cls in ESTIMATORS:
        # Ordered by groups, see below; the parameter without a keyword has a
        # place of its own in the signature.
        assert sorted(names) == sorted(expected)
    else:
        assert names == expected


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_parameters_of_estimators_are_in_named_groups(cls):
    document = docscrape.ClassDoc(cls)
    notes = "\n".join(document["Notes"])
    listed = notes.partition("Parameters by group:\n\n")[2].partition("\n\n")[0]
    groups = {}
    for line in re.split(r"^- ", listed, flags=re.MULTILINE)[1:]:
        name, _, rest = line.partition(":")
        groups[name] = re.findall(r"`(\w+)`", rest)
    assert list(groups) == [name for name in GROUPS if name in groups]
    in_groups = [name for names in groups.values() for name in names]
    assert in_groups == documented(document["Parameters"])


@pytest.mark.parametrize("cls", CLASSES)
def test_classes_have_their_sections(cls):
    document = docscrape.ClassDoc(cls)
    assert document["Summary"]
    assert document["Examples"]
    if cls in ESTIMATORS:
        for section in ("Attributes", "See Also", "Notes", "References"):
            assert document[section], section
    assert all(entry.desc for entry in document["Parameters"])
    assert all(entry.desc for entry in document["Attributes"])


@pytest.mark.parametrize("function", [*FUNCTIONS, *METHODS])
def test_functions_and_methods_have_their_sections(function):
    document = docscrape.FunctionDoc(function)
    assert document["Summary"]
    assert documented(document["Parameters"]) == parameters_of(function)
    assert all(entry.desc for entry in document["Parameters"])
    returns = inspect.signature(function).return_annotation
    if returns not in (None, "None", inspect.Signature.empty):
        assert document["Returns"]


@pytest.mark.parametrize("value", [*PUBLIC, *METHODS])
def test_parameters_are_apart(value):
    assert not entries_without_blank_line(value)


def texts_of_shared():
    """Return, by name, the text of each estimator that has such an entry."""
    texts = defaultdict(dict)
    for cls in ESTIMATORS:
        document = docscrape.ClassDoc(cls)
        for entry in [*document["Parameters"], *document["Attributes"]]:
            for name in documented([entry]):
                texts[name][cls.__name__] = " ".join(" ".join(entry.desc).split())
    return texts


def test_shared_parameters_have_one_text():
    different = {}
    for name, texts in texts_of_shared().items():
        own, _ = OWN_TEXT.get(name, ([], ""))
        shared = {
            cls: text
            for cls, text in texts.items()
            if cls not in own
            and text not in [texts.get(other) for other in LIKE.get(cls, [])]
        }
        if len(set(shared.values())) > 1:
            different[name] = shared
    assert not different


def test_own_texts_are_no_other_class_s():
    texts = texts_of_shared()
    for name, (own, reason) in OWN_TEXT.items():
        for cls in own:
            others = [
                text
                for other, text in texts[name].items()
                if other != cls and cls not in LIKE.get(other, [])
            ]
            assert texts[name][cls] not in others, (name, cls, reason)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_links_within_the_package_lead_somewhere(cls):
    for text in (
        cls.__doc__,
        *(method.values[0].__doc__ for method in methods_of(cls)),
    ):
        for role, target in re.findall(r":(class|meth):`~?([\w.]+)`", text):
            if target.startswith(("torch.", "sklearn.")):
                continue
            owner, _, name = target.removeprefix("skautoenc.").rpartition(".")
            place = getattr(skautoenc, owner) if owner else cls
            found = getattr(place if role == "meth" else skautoenc, name, None)
            assert found is not None, target


def examples():
    """List the methods with examples of classes that are re-exported."""
    for cls in (each for each in CLASSES if each.__module__ == "skautoenc"):
        for name in vars(cls):
            if ">>>" in (inspect.getdoc(getattr(cls, name, None)) or ""):
                yield pytest.param(cls, name, id=f"{cls.__name__}.{name}")


@pytest.mark.parametrize(("cls", "name"), list(examples()))
def test_examples_of_methods_run(cls, name):
    """Doctest skips methods of classes that say they are in another module."""
    pytest.importorskip("matplotlib").use("agg")
    text = inspect.getdoc(getattr(cls, name))
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.DocTestRunner(optionflags=flags).run(example).failed == 0
