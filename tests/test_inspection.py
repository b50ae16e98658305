"""The displays, through their public interface."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skautoenc import (
    AutoencoderOutlierDetector,
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    PatchAutoencoderTransformer,
    VariationalAutoencoder,
)
from skautoenc.inspection import (
    DensityDisplay,
    FilterDisplay,
    LatentDisplay,
    LossCurveDisplay,
    OutlierDisplay,
    ReconstructionDisplay,
)

matplotlib = pytest.importorskip("matplotlib")
plt = pytest.importorskip("matplotlib.pyplot")

DISPLAYS = [LossCurveDisplay, ReconstructionDisplay, LatentDisplay, FilterDisplay]


@pytest.fixture(autouse=True)
def agg_backend():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:300], y[:300]


@pytest.fixture(scope="module")
def autoencoder(digits):
    return fit_autoencoder(digits, n_components=10, early_stopping=True)


def fit_autoencoder(digits, **parameters):
    parameters = {"hidden_layer_sizes": (), "max_iter": 5, **parameters}
    return AutoencoderTransformer(random_state=0, **parameters).fit(digits[0])


def from_estimator(display_class, estimator, X, **parameters):
    """Call `from_estimator` with the arguments that the class needs."""
    data = () if display_class is LossCurveDisplay else (X,)
    return display_class.from_estimator(estimator, *data, **parameters)


def legend_labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


# All displays


@pytest.mark.slow  # It starts a process.
def test_import_leaves_matplotlib_out():
    code = "import sys, skautoenc.inspection; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("display_class", DISPLAYS)
def test_missing_matplotlib(display_class, autoencoder, digits, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "skautoenc\[plot\]"'):
        from_estimator(display_class, autoencoder, digits[0])


@pytest.mark.parametrize(
    "display",
    [
        LossCurveDisplay([1.0]),
        ReconstructionDisplay(np.eye(2), np.eye(2)),
        LatentDisplay(np.eye(2)),
        FilterDisplay(np.eye(2)),
    ],
)
def test_missing_matplotlib_in_plot(display, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="Displays require matplotlib"):
        display.plot()


@pytest.mark.parametrize("display_class", DISPLAYS)
def test_unfitted_estimator(display_class, digits):
    with pytest.raises(NotFittedError):
        from_estimator(display_class, AutoencoderTransformer(), digits[0])


@pytest.mark.parametrize("display_class", DISPLAYS)
def test_pipeline_is_refused(display_class, digits):
    pipeline = make_pipeline(
        MinMaxScaler(), AutoencoderTransformer(n_components=2, max_iter=1)
    ).fit(digits[0])
    with pytest.raises(TypeError, match=r"pipeline\[-1\]"):
        from_estimator(display_class, pipeline, digits[0])


@pytest.mark.parametrize("display_class", DISPLAYS)
def test_other_estimator_is_refused(display_class, digits):
    pca = PCA(2).fit(digits[0])
    with pytest.raises(TypeError, match="expect an autoencoder, got a PCA"):
        from_estimator(display_class, pca, digits[0])


@pytest.mark.parametrize("display_class", DISPLAYS)
def test_new_figure(display_class, autoencoder, digits):
    display = from_estimator(display_class, autoencoder, digits[0])
    assert isinstance(display, display_class)
    assert display.figure_ is display.ax_.figure
    assert display.ax_.get_title()
    display.figure_.canvas.draw()


@pytest.mark.parametrize("display_class", DISPLAYS)
@pytest.mark.parametrize("free_standing", [False, True])
def test_given_axes(display_class, free_standing, autoencoder, digits):
    figure = plt.figure()
    ax = figure.add_axes((0.2, 0.2, 0.6, 0.6)) if free_standing else figure.subplots()
    display = from_estimator(display_class, autoencoder, digits[0], ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert len(plt.get_fignums()) == 1
    figure.canvas.draw()


@pytest.mark.parametrize("display_class", DISPLAYS)
def test_axes_of_subfigure(display_class, autoencoder, digits):
    subfigure = plt.figure().subfigures(1, 2)[0]
    ax = subfigure.subplots()
    display = from_estimator(display_class, autoencoder, digits[0], ax=ax)
    assert display.figure_ is subfigure


# Loss curves


def test_loss_curve_of_estimator(autoencoder):
    display = LossCurveDisplay.from_estimator(autoencoder)
    scores = np.asarray(autoencoder.validation_scores_)
    epochs = np.arange(1, autoencoder.n_iter_ + 1)
    best = int(np.argmax(scores)) + 1
    np.testing.assert_array_equal(display.line_.get_xdata(), epochs)
    np.testing.assert_array_equal(display.line_.get_ydata(), autoencoder.loss_curve_)
    np.testing.assert_array_equal(display.validation_line_.get_xdata(), epochs)
    np.testing.assert_array_equal(display.validation_line_.get_ydata(), 1 - scores)
    assert display.validation_line_.get_markevery() == [best - 1]
    assert legend_labels(display.ax_) == [
        "training",
        f"validation (best in epoch {best})",
    ]
    assert display.ax_.get_xlabel() == "Epoch"
    assert "variance" in display.ax_.get_ylabel()


def test_loss_curve_without_early_stopping(digits):
    autoencoder = fit_autoencoder(digits, n_components=2)
    display = LossCurveDisplay.from_estimator(autoencoder, name="small")
    assert display.validation_line_ is None
    assert legend_labels(display.ax_) == ["small: training"]


def test_loss_curve_of_continued_fit(digits):
    autoencoder = fit_autoencoder(
        digits, n_components=2, warm_start=True, early_stopping=True
    )
    autoencoder.fit(digits[0])
    display = LossCurveDisplay.from_estimator(autoencoder)
    assert len(display.validation_line_.get_ydata()) == autoencoder.n_iter_ == 10


def test_loss_curve_of_fit_with_some_validation_scores(digits):
    autoencoder = fit_autoencoder(digits, n_components=2, warm_start=True)
    autoencoder.set_params(early_stopping=True).fit(digits[0])
    display = LossCurveDisplay.from_estimator(autoencoder)
    assert len(display.line_.get_ydata()) == autoencoder.n_iter_
    assert display.validation_line_ is None


@pytest.mark.parametrize(
    ("losses", "scale"),
    [([1.0, 0.11], "linear"), ([1.0, 0.09], "log"), ([1.0, 0.0], "linear")],
)
def test_loss_curve_scale(losses, scale):
    assert LossCurveDisplay(losses).plot().ax_.get_yscale() == scale


def test_loss_curve_scale_follows_validation_scores():
    display = LossCurveDisplay([1.0, 0.5], validation_scores=[0.0, 0.95]).plot()
    assert display.ax_.get_yscale() == "log"


def test_loss_curves_share_axes():
    first = LossCurveDisplay([1.0, 0.5], validation_scores=[0.1, 0.2]).plot()
    second = LossCurveDisplay([1.0, 0.2], name="second").plot(first.ax_)
    assert first.line_.get_color() == first.validation_line_.get_color()
    assert first.line_.get_linestyle() != first.validation_line_.get_linestyle()
    assert first.line_.get_color() != second.line_.get_color()
    assert legend_labels(first.ax_) == [
        "training",
        "validation (best in epoch 2)",
        "second: training",
    ]


def test_single_epoch_is_visible():
    assert LossCurveDisplay([0.9]).plot().line_.get_marker() == "."


@pytest.mark.parametrize(
    ("display", "message"),
    [
        (LossCurveDisplay([]), r"0 sample\(s\)"),
        (LossCurveDisplay([1.0], validation_scores=[0.1, 0.2]), "inconsistent"),
        (LossCurveDisplay([1.0, 0.5], validation_scores=[0.1]), "inconsistent"),
    ],
)
def test_loss_curve_errors(display, message):
    with pytest.raises(ValueError, match=message):
        display.plot()
    assert not plt.get_fignums()


# Reconstructions


def test_reconstructions_of_estimator(autoencoder, digits):
    X = digits[0]
    display = ReconstructionDisplay.from_estimator(autoencoder, X, n_images=4)
    rows = X[[0, 100, 199, 299]]
    expected = autoencoder.inverse_transform(autoencoder.transform(rows))
    errors = -autoencoder.score_samples(rows)
    np.testing.assert_array_equal(display.originals, rows)
    assert display.axes_.shape == display.artists_.shape == (2, 4)
    for column in range(4):
        original, reconstruction = display.artists_[:, column]
        np.testing.assert_array_equal(original.get_array(), rows[column].reshape(8, 8))
        np.testing.assert_allclose(
            reconstruction.get_array(), expected[column].reshape(8, 8), rtol=1e-6
        )
        error = float(display.axes_[1, column].get_xlabel())
        assert error == pytest.approx(errors[column], rel=5e-3)


def test_reconstructions_share_one_scale():
    originals = np.linspace(0, 1, 32).reshape(2, 16)
    display = ReconstructionDisplay(originals, 2 * originals).plot()
    limits = {image.get_clim() for image in display.artists_.flat}
    assert limits == {(0.0, 1.0)}


def test_row_labels():
    display = ReconstructionDisplay(np.eye(2, 16), np.eye(2, 16)).plot()
    assert [tile.get_ylabel() for tile in display.axes_[:, 0]] == [
        "original",
        "reconstructed",
    ]
    assert [text.get_text() for text in display.axes_[1, 0].texts] == ["error"]


def test_errors_of_small_integers():
    originals = np.array([[0, 200]], dtype=np.uint8)
    display = ReconstructionDisplay(originals, originals[:, ::-1]).plot()
    assert display.axes_[1, 0].get_xlabel() == "4e+04"


def test_fewer_rows_than_images(autoencoder, digits):
    display = ReconstructionDisplay.from_estimator(autoencoder, digits[0][:3])
    assert display.axes_.shape == (2, 3)
    np.testing.assert_array_equal(display.originals, digits[0][:3])


@pytest.mark.parametrize("convert", [list, sparse.csr_array, sparse.coo_array])
def test_reconstructions_of_other_containers(convert, autoencoder, digits):
    X = digits[0]
    display = ReconstructionDisplay.from_estimator(autoencoder, convert(X))
    expected = ReconstructionDisplay.from_estimator(autoencoder, X)
    np.testing.assert_array_equal(display.originals, expected.originals)
    np.testing.assert_allclose(
        display.reconstructions, expected.reconstructions, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_displays_of_frames(library, digits):
    frames = pytest.importorskip(library)
    columns = [f"pixel{index}" for index in range(64)]
    X = frames.DataFrame(dict(zip(columns, digits[0].T, strict=True)))
    y = frames.Series(digits[1])
    autoencoder = AutoencoderTransformer(n_components=3, max_iter=2).fit(X)
    autoencoder.set_output(transform=library)
    reconstructions = ReconstructionDisplay.from_estimator(autoencoder, X)
    np.testing.assert_array_equal(reconstructions.originals[0], digits[0][0])
    latent = LatentDisplay.from_estimator(autoencoder, X, y)
    assert len(latent.scatter_) == 10


@pytest.mark.parametrize(
    ("image_shape", "n_features", "drawn_shape"),
    [
        (None, 16, (4, 4)),
        ((2, 8), 16, (2, 8)),
        ((3, 2, 3), 18, (3, 2, 3)),
        ([4, 4], 16, (4, 4)),
    ],
)
def test_image_shape(image_shape, n_features, drawn_shape):
    rows = np.random.default_rng(0).normal(size=(2, n_features))
    display = ReconstructionDisplay(rows, rows, image_shape=image_shape).plot()
    assert display.artists_[0, 0].get_array().shape == drawn_shape
    filters = FilterDisplay(rows, image_shape=image_shape).plot()
    assert filters.artists_[0].get_array().shape == drawn_shape


@pytest.mark.parametrize(
    ("image_shape", "n_features"), [(None, 9), (None, 17), ((16,), 16)]
)
def test_line_profiles(image_shape, n_features):
    rows = np.random.default_rng(0).normal(size=(2, n_features))
    display = ReconstructionDisplay(rows, 2 * rows, image_shape=image_shape).plot()
    for index in range(2):
        original, reconstruction = display.artists_[:, index]
        np.testing.assert_array_equal(original.get_ydata(), rows[index])
        np.testing.assert_array_equal(reconstruction.get_ydata(), 2 * rows[index])
    assert len({tile.get_ylim() for tile in display.axes_.flat}) == 1
    filters = FilterDisplay(rows, image_shape=image_shape).plot()
    np.testing.assert_array_equal(filters.artists_[1].get_ydata(), rows[1])


def test_colour_images_lie_in_the_unit_interval():
    rows = np.linspace(-3, 7, 24).reshape(2, 12)
    display = ReconstructionDisplay(rows, 9 * rows, image_shape=(2, 2, 3)).plot()
    originals, reconstructions = (
        np.stack([image.get_array() for image in images]) for images in display.artists_
    )
    np.testing.assert_allclose(originals.ravel(), (rows.ravel() + 3) / 10)
    np.testing.assert_allclose(
        reconstructions.ravel(), np.clip((9 * rows.ravel() + 3) / 10, 0, 1)
    )


def test_constant_rows():
    rows = np.full((2, 27), 0.5)
    for image_shape in ((27, 1), (3, 3, 3), (27,)):
        display = ReconstructionDisplay(rows, rows, image_shape=image_shape).plot()
        display.figure_.canvas.draw()


@pytest.mark.parametrize(
    ("image_shape", "message"),
    [
        ((3, 5), "product of 16"),
        ((2, 2, 2, 2), "product of 16"),
        ((2, 2, 4), r"\(height, width, 3\)"),
    ],
)
def test_image_shape_errors(image_shape, message):
    rows = np.eye(2, 16)
    for display in (
        ReconstructionDisplay(rows, rows, image_shape=image_shape),
        FilterDisplay(rows, image_shape=image_shape),
    ):
        with pytest.raises(ValueError, match=message):
            display.plot()


@pytest.mark.parametrize(
    ("display", "message"),
    [
        (ReconstructionDisplay(np.ones(3), np.ones(3)), "Expected 2D array"),
        (ReconstructionDisplay(np.ones((0, 3)), np.ones((0, 3))), r"0 sample\(s\)"),
        (ReconstructionDisplay(np.eye(3), np.eye(2)), "the same shape"),
    ],
)
def test_reconstruction_errors(display, message):
    with pytest.raises(ValueError, match=message):
        display.plot()
    assert not plt.get_fignums()


# Codes


def test_code_of_two_units_is_drawn_as_it_is(digits):
    X = digits[0]
    autoencoder = fit_autoencoder(digits, n_components=2)
    display = LatentDisplay.from_estimator(autoencoder, X)
    (points,) = display.scatter_
    np.testing.assert_array_equal(points.get_offsets(), autoencoder.transform(X))
    assert display.ax_.get_xlabel() == "Code unit 0"
    assert display.ax_.get_ylabel() == "Code unit 1"
    assert display.explained_variance_ratio is None
    assert display.ax_.get_legend() is None
    assert points.colorbar is None


def test_wider_code_is_projected(autoencoder, digits):
    X = digits[0]
    display = LatentDisplay.from_estimator(autoencoder, X)
    pca = PCA(n_components=2, random_state=0)
    expected = pca.fit_transform(autoencoder.transform(X))
    np.testing.assert_allclose(display.projection, expected, rtol=1e-4, atol=1e-4)
    share = f"({pca.explained_variance_ratio_[0]:.0%} of variance)"
    assert display.ax_.get_xlabel() == f"First principal component {share}"


def test_classes_get_a_legend(autoencoder, digits):
    X, y = digits
    display = LatentDisplay.from_estimator(autoencoder, X, y)
    assert legend_labels(display.ax_) == [str(label) for label in range(10)]
    for label, points in enumerate(display.scatter_):
        np.testing.assert_array_equal(
            points.get_offsets(), display.projection[y == label]
        )
    colors = {tuple(points.get_facecolor()[0]) for points in display.scatter_}
    assert len(colors) == 10


@pytest.mark.parametrize(
    "target",
    [["b", "a", "c"], [True, False, True], [1, 0, 5], [1.0, 2.0, 1.0]],
)
def test_targets_with_classes(target):
    display = LatentDisplay(np.eye(3, 2), target=target).plot()
    labels = [str(label) for label in np.unique(target)]
    assert legend_labels(display.ax_) == labels


@pytest.mark.parametrize("target", [np.linspace(0, 1, 30), np.arange(30)])
def test_quantities_get_a_colour_bar(target):
    display = LatentDisplay(np.ones((30, 2)), target=target).plot()
    (points,) = display.scatter_
    np.testing.assert_array_equal(points.get_array(), target)
    assert points.colorbar.ax.get_ylabel() == "Target"
    assert points.colorbar.solids.get_alpha() == 1
    assert display.ax_.get_legend() is None


def test_many_classes_stay_apart():
    labels = [f"class {index:02d}" for index in range(45)]
    display = LatentDisplay(np.ones((45, 2)), target=labels).plot()
    looks = {
        (tuple(points.get_facecolor()[0]), points.get_paths()[0].vertices.tobytes())
        for points in display.scatter_
    }
    assert len(looks) == 45
    assert legend_labels(display.ax_) == labels


def test_many_samples_are_thinned(autoencoder, digits):
    X, y = digits
    display = LatentDisplay.from_estimator(autoencoder, X, y, max_samples=100)
    assert len(display.projection) == len(display.target) == 100
    assert display.target[0] == y[0]
    assert display.target[-1] == y[-1]
    assert display.ax_.get_title() == "Code of 100 samples"


def test_points_shrink_and_fade_with_their_number():
    few, many = (LatentDisplay(np.ones((n, 2))).plot().scatter_[0] for n in (10, 9999))
    assert few.get_sizes()[0] > many.get_sizes()[0]
    assert few.get_alpha() > many.get_alpha()


def test_single_unit_is_refused(digits):
    autoencoder = fit_autoencoder(digits, n_components=1)
    with pytest.raises(ValueError, match="at least two components"):
        LatentDisplay.from_estimator(autoencoder, digits[0])


@pytest.mark.parametrize(
    ("display", "message"),
    [
        (LatentDisplay(np.eye(3)), r"\(n_samples, 2\)"),
        (LatentDisplay(np.eye(2), target=[1, 2, 3]), "inconsistent"),
    ],
)
def test_latent_errors(display, message):
    with pytest.raises(ValueError, match=message):
        display.plot()


def test_target_of_another_length(autoencoder, digits):
    with pytest.raises(ValueError, match="inconsistent"):
        LatentDisplay.from_estimator(autoencoder, digits[0], digits[1][:-1])


# Filters


def test_filters_of_estimator(autoencoder, digits):
    display = FilterDisplay.from_estimator(autoencoder, digits[0], n_filters=6)
    directions = autoencoder.network_.directions().numpy()
    assert display.axes_.shape == display.artists_.shape == (6,)
    for unit, tile, image in zip(
        display.units, display.axes_, display.artists_, strict=True
    ):
        np.testing.assert_array_equal(image.get_array(), directions[unit].reshape(8, 8))
        assert tile.get_title() == str(unit)
        largest = np.abs(directions[unit]).max()
        np.testing.assert_allclose(image.get_clim(), [-largest, largest])


@pytest.mark.parametrize("whiten", ["zca", "pca"])
def test_filters_of_a_whitened_code_are_those_of_the_data(digits, whiten):
    X = digits[0]
    autoencoder = AutoencoderTransformer(
        8, hidden_layer_sizes=(), whiten=whiten, max_iter=2, random_state=0
    ).fit(X)
    display = FilterDisplay.from_estimator(autoencoder, X)
    zero = autoencoder.inverse_transform(np.zeros((1, 8)))
    moves = autoencoder.inverse_transform(np.eye(8)) - zero
    np.testing.assert_allclose(
        display.filters * autoencoder.scale_, moves[display.units], atol=1e-3
    )


def test_most_used_filters_come_first(autoencoder, digits):
    X = digits[0]
    display = FilterDisplay.from_estimator(autoencoder, X)
    directions = autoencoder.network_.directions().numpy()
    contributions = np.abs(autoencoder.transform(X)).mean(axis=0)
    contributions *= np.linalg.norm(directions, axis=1)
    assert sorted(display.units) == list(range(10))
    assert np.all(np.diff(contributions[display.units]) <= 0)
    np.testing.assert_array_equal(display.filters, directions[display.units])


def test_filters_of_sparse_code(digits):
    autoencoder = fit_autoencoder(digits, n_components=12, sparsity="lifetime")
    display = FilterDisplay.from_estimator(autoencoder, digits[0])
    assert len(display.artists_) == 12


def test_deep_decoder_has_no_filters(digits):
    autoencoder = fit_autoencoder(digits, n_components=2, hidden_layer_sizes=(8,))
    with pytest.raises(ValueError, match="not linear in the code"):
        FilterDisplay.from_estimator(autoencoder, digits[0])


def test_network_without_directions(autoencoder, digits, monkeypatch):
    monkeypatch.setattr(autoencoder, "network_", object())
    with pytest.raises(ValueError, match="not linear in the code"):
        FilterDisplay.from_estimator(autoencoder, digits[0])


def test_unused_filter_and_incomplete_grid():
    display = FilterDisplay(np.zeros((5, 16))).plot()
    display.figure_.canvas.draw()
    assert len(display.axes_) == 5
    assert len(display.ax_.child_axes) == 5
    assert [tile.get_title() for tile in display.axes_] == list("01234")
    assert display.artists_[0].get_clim() == (-1, 1)


def test_filters_of_colour_images_have_grey_zeros():
    filters = np.array([[-2.0, 0.0, 1.0]])
    display = FilterDisplay(filters, image_shape=(1, 1, 3)).plot()
    np.testing.assert_allclose(
        display.artists_[0].get_array().ravel(), [0.0, 0.5, 0.75]
    )


@pytest.mark.parametrize(
    ("display", "message"),
    [
        (FilterDisplay(np.ones(16)), "Expected 2D array"),
        (FilterDisplay(np.ones((0, 16))), r"0 sample\(s\)"),
        (FilterDisplay(np.ones((2, 16)), units=[1]), "inconsistent"),
    ],
)
def test_filter_errors(display, message):
    with pytest.raises(ValueError, match=message):
        display.plot()
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("display_class", "parameter"),
    [
        (ReconstructionDisplay, "n_images"),
        (LatentDisplay, "max_samples"),
        (FilterDisplay, "n_filters"),
    ],
)
def test_counts_must_be_positive(display_class, parameter, autoencoder, digits):
    with pytest.raises(ValueError, match=f"{parameter} == 0, must be >= 1"):
        from_estimator(display_class, autoencoder, digits[0], **{parameter: 0})


# Estimators of images


@pytest.fixture(scope="module")
def patches(digits):
    return PatchAutoencoderTransformer(
        AutoencoderTransformer(
            12, sparsity="topk", max_iter=1, batch_size=1024, random_state=0
        ),
        pooling=2,
        random_state=0,
    ).fit(digits[0])


def test_filters_of_patches(patches, digits):
    display = FilterDisplay.from_estimator(patches, digits[0], n_filters=9)
    assert display.axes_.shape == (9,)
    assert display.artists_[0].get_array().shape == (4, 4)
    seen = patches.extract_patches(digits[0])
    assert seen.shape == (10_000, 16)
    expected = FilterDisplay.from_estimator(patches.autoencoder_, seen, n_filters=9)
    np.testing.assert_array_equal(display.units, expected.units)
    np.testing.assert_array_equal(display.filters, expected.filters)


def test_curves_of_patches(patches):
    display = LossCurveDisplay.from_estimator(patches)
    assert list(display.loss_curve) == patches.autoencoder_.loss_curve_


def test_images_of_estimators_that_know_their_shape(patches, digits):
    images = digits[0].reshape(-1, 8, 8)
    display = ReconstructionDisplay.from_estimator(patches, images, n_images=3)
    assert display.axes_.shape == (2, 3)
    np.testing.assert_array_equal(display.artists_[0, 0].get_array(), images[0])
    colour = np.random.default_rng(0).random((20, 4, 5, 3))
    network = ConvAutoencoderTransformer(2, hidden_channels=(2,), max_iter=1)
    display = ReconstructionDisplay.from_estimator(network.fit(colour), colour)
    assert display.artists_[0, 0].get_array().shape == (4, 5, 3)
    assert LatentDisplay.from_estimator(network, colour).projection.shape == (20, 2)
    many = np.random.default_rng(0).random((20, 8, 8, 4))
    display = ReconstructionDisplay.from_estimator(network.fit(many), many)
    assert len(display.artists_[0, 0].get_xdata()) == 256
    lines = many.reshape(20, 1, 256)
    display = ReconstructionDisplay.from_estimator(network.fit(lines), lines)
    assert len(display.artists_[0, 0].get_xdata()) == 256


# Outliers


@pytest.fixture(scope="module")
def rows_and_detector():
    frame = pd.DataFrame(
        np.random.default_rng(0).normal(size=(100, 3)), columns=[*"abc"]
    )
    frame.index = [f"r{number}" for number in range(100)]
    frame.loc["r7", "b"] = 9.0
    return frame, AutoencoderOutlierDetector(random_state=0).fit(frame)


def test_outliers_of_estimator(rows_and_detector):
    frame, detector = rows_and_detector
    display = OutlierDisplay.from_estimator(detector, frame, n_rows=4)
    assert display.texts_.shape == (4, 3)
    rows = [label.get_text() for label in display.table_ax_.get_yticklabels()]
    assert rows[0] == "row r7"
    columns = [label.get_text() for label in display.table_ax_.get_xticklabels()]
    assert columns == ["a", "b", "c"]
    expected = detector.explain(frame.loc[["r7"]]).expected["b"].iloc[0]
    assert display.texts_[0, 1].get_text() == f"9\n({expected:.3g})"
    assert "(" not in display.texts_[0, 0].get_text()
    assert display.line_.get_xdata()[0] == detector.offset_
    n_outliers = (detector.predict(frame) == -1).sum()
    assert f"{n_outliers} of 100" in legend_labels(display.histogram_ax_)[0]
    assert display.image_.get_array()[0].argmax() == 1
    display.figure_.canvas.draw()


def test_outliers_of_arrays(rows_and_detector):
    frame, _ = rows_and_detector
    X = frame.to_numpy()
    detector = AutoencoderOutlierDetector(random_state=0).fit(X)
    figure = plt.figure()
    display = OutlierDisplay.from_estimator(
        detector, sparse.csr_array(X[:2]), ax=figure.subplots()
    )
    assert display.figure_ is figure
    rows = [label.get_text() for label in display.table_ax_.get_yticklabels()]
    assert sorted(rows) == ["row 0", "row 1"]


def test_outliers_with_missing_values():
    values = [["x", None], [True, 2.0]]
    display = OutlierDisplay(
        [0, -1], -0.5, values, [[3.0, np.nan], [0.1, 0.2]], [["y", 1.0], [False, 2.5]]
    ).plot()
    texts = [[text.get_text() for text in row] for row in display.texts_]
    assert texts == [["x\n(y)", "missing"], ["True", "2\n(2.5)"]]


def test_outliers_among_images():
    rng = np.random.default_rng(0)
    images = np.linspace(0, 1, 8) + 0.1 * rng.normal(size=(60, 6, 8))
    images[4, 2, 3] = 9.0
    inner = ConvAutoencoderTransformer(2, max_iter=2, corruption_rate=0.1)
    detector = AutoencoderOutlierDetector(inner, n_estimators=4, random_state=0)
    detector.fit(images)
    display = OutlierDisplay.from_estimator(detector, images, n_rows=2)
    assert display.texts_ is display.image_ is display.columns_ is None
    assert display.artists_.shape == (3, 2)
    drawn, expected, surprise = [artist.get_array() for artist in display.artists_.T[0]]
    found = detector.explain(images[[4]])
    np.testing.assert_allclose(drawn, images[4])
    np.testing.assert_allclose(expected, found.expected[0])
    np.testing.assert_allclose(surprise, found.surprise[0])
    assert surprise.argmax() == 2 * 8 + 3
    # Equal shades are equal values, of rows and expected ones alike.
    assert len({artist.get_clim() for artist in display.artists_[:2].flat}) == 1
    assert display.artists_[2, 0].axes.get_xlabel() == "row 4"
    labels = [artist.axes.get_ylabel() for artist in display.artists_[:, 0]]
    assert labels == ["row", "expected", "surprise"]
    display.figure_.canvas.draw()
    assert display.artists_[0, 0].axes.get_window_extent().width > 20


def test_outliers_drawn_as_images():
    rows = np.arange(24.0).reshape(2, 12)
    surprise = rows[::-1] / 4
    display = OutlierDisplay([0, -1], -0.5, rows, surprise, rows, image_shape=(2, 2, 3))
    display.plot()
    assert display.artists_[0, 0].get_array().shape == (2, 2, 3)
    # A pixel is as surprising as the most surprising of its channels.
    shown = display.artists_[2, 0].get_array()
    np.testing.assert_allclose(shown, surprise[0].reshape(2, 2, 3).max(axis=2))
    for shape in ((3, 5), (12,)):
        with pytest.raises(ValueError, match="image_shape must be"):
            OutlierDisplay([0], 0, rows, rows, rows, image_shape=shape).plot()


def test_outliers_of_many_columns():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 300))
    surprise = rng.uniform(0, 1, values.shape)
    surprise[0, :40], surprise[0, 7], surprise[1, 250] = 3.0, 4.0, 2.0
    names = [f"c{number}" for number in range(300)]
    display = OutlierDisplay(
        [0, -1], -0.5, values, surprise, values, feature_names=names
    ).plot()
    assert display.texts_.shape == (3, 20)
    # The most surprising cell of each row is shown.
    assert set(surprise.argmax(axis=1)) <= set(display.columns_)
    labels = [label.get_text() for label in display.table_ax_.get_xticklabels()]
    assert labels == [names[column] for column in display.columns_]
    assert (display.columns_ < 40).sum() >= 18
    assert display.texts_[0, list(display.columns_).index(7)].get_text().endswith(")")
    assert display.figure_.get_size_inches().max() < 30


def test_scores_of_a_row_that_is_far_off_are_drawn():
    scores = np.append(np.random.default_rng(0).normal(size=400), -1e13)
    display = OutlierDisplay(scores, -2.0, [[1.0]], [[1.0]], [[1.0]]).plot()
    counts = [bar.get_height() for bar in display.histogram_ax_.patches]
    assert len(counts) == 20
    assert sum(counts) == 401


def test_outliers_of_what_is_no_detector(rows_and_detector, monkeypatch):
    frame, detector = rows_and_detector
    with pytest.raises(NotFittedError):
        OutlierDisplay.from_estimator(AutoencoderOutlierDetector(), frame)
    with pytest.raises(TypeError, match="expects an AutoencoderOutlierDetector"):
        OutlierDisplay.from_estimator(PCA(2).fit(frame), frame)
    with pytest.raises(ValueError, match="n_rows"):
        OutlierDisplay.from_estimator(detector, frame, n_rows=0)
    with pytest.raises(ValueError, match="must have the same shape"):
        OutlierDisplay([0.0], 0, [[1.0]], [[1.0, 2.0]], [[1.0]]).plot()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="Displays require matplotlib"):
        OutlierDisplay([0.0], 0, [[1.0]], [[1.0]], [[1.0]]).plot()


@pytest.fixture(scope="module")
def density():
    X = np.random.default_rng(0).normal(size=(100, 16)) + np.arange(16)
    return VariationalAutoencoder(3, max_iter=2, random_state=0).fit(X), X


def test_density_draws_samples(density):
    model, _ = density
    display = DensityDisplay.from_estimator(model, n_images=8, random_state=0)
    assert display.axes_.shape == (3, 3)
    assert not display.axes_[2, 2].get_visible()
    assert display.artists_[2, 2] is None
    expected = model.sample(8, 0, add_noise=False)
    artists = display.artists_.flat[:8]
    drawn = np.stack([artist.get_array().ravel() for artist in artists])
    np.testing.assert_allclose(drawn, expected, rtol=1e-6)
    # Equal shades are equal values.
    limits = {artist.get_clim() for artist in artists}
    assert limits == {(expected.min(), expected.max())}


def test_density_draws_the_plane_of_two_components(density):
    model, _ = density
    display = DensityDisplay.from_estimator(
        model, kind="plane", components=(2, 0), n_images=10, image_shape=(16,)
    )
    assert display.axes_.shape == (3, 3)
    drawn = np.stack([line.get_ydata() for line in display.artists_.flat])
    codes = model.transform(drawn).reshape(3, 3, 3)
    assert (np.diff(codes[..., 2], axis=1) > 0).all()
    assert (np.diff(codes[..., 0], axis=0) < 0).all()
    centre = model.inverse_transform(np.zeros((1, 3)))[0]
    np.testing.assert_allclose(drawn[4], centre, rtol=1e-6)


def test_density_draws_rows_by_their_log_likelihood(density):
    model, X = density
    display = DensityDisplay.from_estimator(model, X, kind="rows", n_images=4)
    labels = [float(tile.get_xlabel()) for tile in display.axes_.flat]
    scores = model.score_samples(X)
    assert labels == sorted(labels, reverse=True)
    assert labels[0] == pytest.approx(scores.max(), rel=1e-3)
    assert labels[-1] == pytest.approx(scores.min(), rel=1e-3)
    likeliest = display.artists_[0, 0].get_array().ravel()
    np.testing.assert_allclose(likeliest, X[scores.argmax()])


def test_density_display_explains_what_it_needs(density):
    model, X = density
    with pytest.raises(ValueError, match="needs X"):
        DensityDisplay.from_estimator(model, kind="rows")
    with pytest.raises(ValueError, match="kind must be one of"):
        DensityDisplay.from_estimator(model, kind="grid")
    for components in [(0, 0), (0, 3), (-1, 0)]:
        with pytest.raises(ValueError, match="from 0 to 2"):
            DensityDisplay.from_estimator(model, kind="plane", components=components)
    with pytest.raises(TypeError, match="expects a VariationalAutoencoder"):
        DensityDisplay.from_estimator(PCA(2).fit(X))
    with pytest.raises(NotFittedError):
        DensityDisplay.from_estimator(VariationalAutoencoder())
    with pytest.raises(ValueError, match="same length"):
        DensityDisplay(X[:2], [1.0]).plot()
