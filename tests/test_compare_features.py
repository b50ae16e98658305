"""The example that compares features."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.pipeline import Pipeline

pytest.importorskip("matplotlib")

EXAMPLE = Path(__file__).parents[1] / "examples" / "compare_features.py"
FIGURES = [
    "accuracy.png",
    "filters.png",
    "latent.png",
    "loss_curve.png",
    "reconstructions.png",
]
COLUMNS = [
    "features",
    "best_parameters",
    "n_features",
    "cv_accuracy_mean",
    "cv_accuracy_std",
    "test_accuracy",
    "test_accuracy_low",
    "test_accuracy_high",
    "fit_seconds",
    "transform_seconds",
]
KINDS = ["raw pixels", "PCA", "autoencoder", "patch autoencoder"]
N_TRAIN = 200
N_TEST = 100
IDX_NAMES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location(EXAMPLE.stem, EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def small_grid(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example, "CLASSIFIER_C", [0.1, 1])
    monkeypatch.setattr(example, "PCA_COMPONENTS", [0.9])
    monkeypatch.setattr(example, "AUTOENCODER_COMPONENTS", [8])


def run_small(example: ModuleType, output: Path, *arguments: str) -> int:
    status: int = example.main(
        ["--output", str(output), "--folds", "2", "--n-jobs", "1", *arguments]
    )
    return status


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    header = bytes([0, 0, 8, array.ndim])
    sizes = np.array(array.shape, dtype=">u4").tobytes()
    path.write_bytes(header + sizes + array.tobytes())


def write_idx_digits(folder: Path, *, n_train_labels: int = N_TRAIN) -> None:
    """Write some digits under the names of MNIST."""
    digits = load_digits()
    images = digits.images[: N_TRAIN + N_TEST].astype(np.uint8)
    labels = digits.target[: N_TRAIN + N_TEST].astype(np.uint8)
    arrays = [
        images[:N_TRAIN],
        labels[:n_train_labels],
        images[N_TRAIN:],
        labels[N_TRAIN:],
    ]
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(IDX_NAMES, arrays, strict=True):
        write_idx(folder / name, array)


def check_outputs(output: Path) -> pd.DataFrame:
    """Check the files in the output folder and return the table."""
    table = pd.read_csv(output / "results.csv")
    assert list(table.columns) == COLUMNS
    assert list(table["features"]) == KINDS
    assert table["cv_accuracy_mean"].between(0.5, 1).all()
    assert (table["test_accuracy_low"] <= table["test_accuracy"]).all()
    assert (table["test_accuracy"] <= table["test_accuracy_high"]).all()
    assert (table[["fit_seconds", "transform_seconds"]] >= 0).all(axis=None)
    assert sorted(path.name for path in output.glob("*.png")) == FIGURES
    for figure in FIGURES:
        assert (output / figure).stat().st_size > 5_000
    return table


@pytest.mark.slow  # A whole search, which the command of the README runs, too.
@pytest.mark.usefixtures("small_grid")
def test_digits(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "folder"

    assert run_small(example, output, "--train-size", "200") == 0

    table = check_outputs(output)
    assert table["n_features"][0] == 64
    for parameters in table["best_parameters"][::3]:
        assert re.fullmatch(r"C=[\d.]+", parameters)
    for parameters in table["best_parameters"][1:3]:
        assert re.fullmatch(r"C=[\d.]+, n_components=\S+", parameters)
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    header = next(i for i, line in enumerate(lines) if "test accuracy" in line)
    rows = lines[header + 1 : header + 5]
    assert len({len(line) for line in lines[header : header + 5]}) == 1
    for row, (_, values) in zip(rows, table.iterrows(), strict=True):
        assert row.strip().startswith(values["features"])
        assert values["best_parameters"] in row
        assert f"{values['cv_accuracy_mean']:.4f} ± " in row
        assert f"{values['test_accuracy']:.4f} [" in row
    verdicts = [line for line in lines if line.startswith("Verdict: ")]
    assert len(verdicts) == 1
    assert "450 test images" in verdicts[0]
    assert str(output) in lines[-1]
    assert printed.err == ""


@pytest.mark.slow  # Whole searches.
@pytest.mark.usefixtures("small_grid")
@pytest.mark.parametrize("sub_folder", ["", "fashion-mnist"])
def test_idx_files(example: ModuleType, tmp_path: Path, sub_folder: str) -> None:
    write_idx_digits(tmp_path / "data" / sub_folder)
    arguments = ["--dataset", "fashion-mnist", "--data-dir", str(tmp_path / "data")]

    assert run_small(example, tmp_path / "output", *arguments) == 0

    table = check_outputs(tmp_path / "output")
    assert table["n_features"][0] == 64


@pytest.mark.slow  # Two whole searches.
@pytest.mark.usefixtures("small_grid")
def test_search_ignores_the_test_images(example: ModuleType, tmp_path: Path) -> None:
    tables = []
    for name in ("original", "shuffled"):
        folder = tmp_path / name
        write_idx_digits(folder)
        if name == "shuffled":
            labels = np.random.default_rng(0).permutation(N_TEST) % 10
            write_idx(folder / IDX_NAMES[3], labels.astype(np.uint8))
        arguments = ["--dataset", "mnist", "--data-dir", str(folder)]
        run_small(example, folder / "output", *arguments)
        tables.append(pd.read_csv(folder / "output" / "results.csv"))

    unaffected = COLUMNS[:5]
    pd.testing.assert_frame_equal(tables[0][unaffected], tables[1][unaffected])
    assert (tables[1]["test_accuracy"] < tables[0]["test_accuracy"]).all()


@pytest.mark.slow  # A whole search.
@pytest.mark.usefixtures("small_grid")
def test_openml(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch_openml(name: str, **options: Any) -> tuple[Any, Any]:
        assert name == "Fashion-MNIST"
        data, target = load_digits(return_X_y=True)
        # The images of the real data set have 28 x 28 pixels.
        data = np.pad(data.reshape(-1, 8, 8), ((0, 0), (10, 10), (10, 10)))
        return data[:300].reshape(300, -1), target[:300].astype(str)

    monkeypatch.setattr(example, "fetch_openml", fetch_openml)
    monkeypatch.setattr(example, "N_OFFICIAL_TRAIN", 200)

    assert run_small(example, tmp_path, "--dataset", "fashion-mnist") == 0

    assert check_outputs(tmp_path)["n_features"][0] == 784


def test_openml_out_of_reach(
    example: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fetch_openml(name: str, **options: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(example, "fetch_openml", fetch_openml)

    assert run_small(example, tmp_path, "--dataset", "mnist") == 1

    check_message(capsys, "mnist_784", "no route to host", "--data-dir")


def check_message(capsys: pytest.CaptureFixture[str], *parts: str) -> None:
    """Expect a message in one line with all of these parts."""
    message = capsys.readouterr().err
    assert message.startswith("compare_features: ")
    assert message.count("\n") == 1
    for part in parts:
        assert part in message


def test_missing_folder(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "absent")

    status = run_small(example, tmp_path, "--dataset", "mnist", "--data-dir", folder)

    assert status == 1
    check_message(capsys, "no folder", folder, "--data-dir", "fetch_openml")


def test_missing_file(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_idx_digits(tmp_path)
    (tmp_path / IDX_NAMES[2]).unlink()
    arguments = ["--dataset", "mnist", "--data-dir", str(tmp_path)]

    assert run_small(example, tmp_path, *arguments) == 1

    check_message(capsys, "1 of the 4", IDX_NAMES[2], str(tmp_path), "--data-dir")


def test_damaged_file(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_idx_digits(tmp_path)
    path = tmp_path / IDX_NAMES[0]
    path.write_bytes(path.read_bytes()[:-1])
    arguments = ["--dataset", "mnist", "--data-dir", str(tmp_path)]

    assert run_small(example, tmp_path, *arguments) == 1

    check_message(capsys, IDX_NAMES[0], "12800 bytes", "12799 bytes", "Download")


def test_unequal_counts(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_idx_digits(tmp_path, n_train_labels=N_TRAIN - 1)
    arguments = ["--dataset", "mnist", "--data-dir", str(tmp_path)]

    assert run_small(example, tmp_path, *arguments) == 1

    check_message(capsys, "200 images", "199 labels")


@pytest.mark.parametrize(
    ("train_size", "parts"),
    [
        ("12", ["2 folds", "smallest has 1", "--train-size", "--folds"]),
        ("5000", ["5000", "1347 training images"]),
    ],
)
def test_unusable_train_size(
    example: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    train_size: str,
    parts: list[str],
) -> None:
    assert run_small(example, tmp_path, "--train-size", train_size) == 1

    check_message(capsys, *parts)


def test_unusable_output(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    path.touch()

    assert run_small(example, path) == 1

    check_message(capsys, str(path), "--output")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "cifar"], "invalid choice"),
        (["--data-dir", "data"], "--data-dir needs --dataset"),
        (["--train-size", "0"], "must be 1 or more"),
        (["--train-size", "many"], "invalid integer value"),
        (["--folds", "1"], "must be 2 or more"),
        (["--n-jobs", "0"], "--n-jobs must not be 0"),
        (["--random-state", "-1"], "must be 0 or more"),
    ],
)
def test_wrong_arguments(
    example: ModuleType,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    with pytest.raises(SystemExit) as error:
        example.main(arguments)

    assert error.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("counts", "statement"),
    [
        (
            (50, 60, 90, 90),
            "PCA features beat raw pixels (+10.0 points, p = 0.002); autoencoder "
            "features beat raw pixels (+40.0 points, p < 0.001) and PCA (+30.0 points, "
            "p < 0.001); patch autoencoder features beat raw pixels (+40.0 points, "
            "p < 0.001) and PCA (+30.0 points, p < 0.001) and do not differ",
        ),
        (
            (90, 60, 60, 60),
            "fall behind raw pixels (-30.0 points, p < 0.001) and do not differ "
            "significantly from PCA (+0.0 points, p = 1.000) and autoencoder (+0.0",
        ),
        ((60, 50, 55, 60), "(-5.0 points, p = 0.062) and PCA (+5.0 points, p = 0.062)"),
        (
            (10, 20, 30, 90),
            "patch autoencoder features beat raw pixels (+80.0 points, p < 0.001), "
            "PCA (+70.0 points, p < 0.001) and autoencoder (+60.0 points, p < 0.001)",
        ),
    ],
)
def test_verdict_follows_the_results(
    example: ModuleType, counts: tuple[int, ...], statement: str
) -> None:
    results = [
        example.Result(
            features=features,
            parameters={},
            n_features=1,
            cv_mean=0.5,
            cv_std=0.1,
            is_correct=np.arange(100) < n_correct,
            fit_seconds=0.0,
            transform_seconds=0.0,
            pipeline=Pipeline([("features", "passthrough")]),
        )
        for features, n_correct in zip(KINDS, counts, strict=True)
    ]

    verdict = example.summarize(results)

    assert verdict.startswith("Verdict: ")
    assert statement in verdict
    assert "100 test images" in verdict
