"""The benchmarks run. What they measure is in the documentation, and not asserted."""

import dataclasses
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import (
    accelerator,
    density,
    density_images,
    draws,
    features,
    labels,
    memory,
    outliers,
    patches,
    reconstruction,
    search,
    speed,
    stream,
    tables,
    text,
    trees,
    untuned,
)
from examples import plot_density, plot_outliers, plot_table
from skautoenc import AutoencoderTransformer

# They run whole searches on real data; estimators are tested elsewhere.
pytestmark = pytest.mark.slow


def test_reconstruction(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reconstruction, "SEEDS", (0,))
    monkeypatch.setattr(reconstruction, "COMPONENTS", {"digits": (8,)})
    output = tmp_path / "table.csv"
    monkeypatch.setattr(sys, "argv", ["reconstruction", "--output", str(output)])
    reconstruction.main()
    table = pd.read_csv(output)
    assert table["autoencoder"].tolist()[:2] == ["dense", "convolutional"]
    assert table["error / PCA"].between(0, 1, inclusive="neither").all()
    assert "error / PCA" in capsys.readouterr().out


def test_text(monkeypatch, capsys):
    line = "text --components 8 --seeds 0 1 --modules 4 --words 300"
    monkeypatch.setattr(sys, "argv", line.split())
    text.main()
    printed = capsys.readouterr().out
    for method in "AutoencoderTransformer", "TruncatedSVD":
        found = re.search(rf"{method} +(0\.\d+)", printed)
        assert float(found[1]) > 0.5


@pytest.fixture
def run_untuned(tmp_path, monkeypatch, capsys):
    """Run the benchmark on one seed and return what it prints."""
    # Candidates of C and rows only cost time here.
    monkeypatch.setattr(untuned, "CLASSIFIER_C", (0.1, 1))
    monkeypatch.setattr(untuned, "N_FOLDS", 2)
    output = tmp_path / "lines.csv"

    def run(*data):
        line = ["untuned", "--output", str(output), "--seeds", "0", "--data", *data]
        monkeypatch.setattr(sys, "argv", line)
        untuned.main()
        return capsys.readouterr().out

    return run


def test_untuned(run_untuned, tmp_path):
    printed = run_untuned("wine")
    lines = pd.read_csv(tmp_path / "lines.csv")
    assert len(lines) == 2 * len(untuned.FEATURES)
    assert lines["accuracy"].between(0.9, 1).all()
    widths = lines.groupby("features")["n_features"].max()
    assert widths["PCA"] < widths["raw"] < widths["autoencoder"]
    assert "the autoencoder is" in printed


def test_untuned_resumes(run_untuned, tmp_path, monkeypatch):
    first = run_untuned("wine")
    path = tmp_path / "lines.csv"
    lines = pd.read_csv(path)
    lines[1:].to_csv(path, index=False)
    again = run_untuned("wine")
    assert (first.count("accuracy="), again.count("accuracy=")) == (8, 1)
    assert again.partition("\n\n")[2] == first.partition("\n\n")[2]
    # Lines of other versions of the code are kept, apart from those of this one.
    monkeypatch.setattr(untuned, "settings", lambda: "other")
    assert run_untuned("wine").count("accuracy=") == 8
    assert len(pd.read_csv(path)) == 16


def test_untuned_says_what_to_install(run_untuned, monkeypatch, capsys):
    monkeypatch.setattr(untuned, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        run_untuned("wine", "meats")
    assert "install" in capsys.readouterr().err


@pytest.mark.parametrize("name", untuned.INCLUDED)
def test_untuned_data(name):
    data = untuned.INCLUDED[name]()
    rows = data.preprocessing.fit_transform(data.rows)
    assert rows.shape[0] == len(data.target)
    assert pd.Series(data.target).value_counts().min() >= untuned.N_FOLDS


def test_features(tmp_path, monkeypatch, capsys, digits):
    X, X_test, y, y_test = digits
    C = (0.1, 1)
    quick = {
        "raw": features.raw,
        "autoencoder": lambda seed: AutoencoderTransformer(
            max_iter=1, random_state=seed
        ),
    }
    tasks = (
        features.Task("digits", "digits", quick, candidates=C),
        features.Task("all labels", "mnist", quick, candidates=C),
        features.Task("few labels", "mnist", quick, True, candidates=C),
        features.Task("epochs", "mnist", {"max_iter=1": quick["autoencoder"]}),
    )
    monkeypatch.setattr(features, "TASKS", tasks)
    monkeypatch.setattr(features, "SEEDS", (0, 1))
    monkeypatch.setattr(features, "N_LABELS", 200)
    monkeypatch.setattr(features, "N_HELD_OUT", 300)
    monkeypatch.setattr(
        features, "load", lambda *args: features.Data(X, y, X_test, y_test)
    )
    argv = ["features", "--data-dir", "nowhere", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", argv)
    features.main()
    table = pd.read_csv(tmp_path / "features.csv")
    assert len(table) == 2 * (2 + 2 + 2 + 1)
    assert table["accuracy"].between(70, 100).all()
    assert set(table["C"][table["task"] != "epochs"]) <= set(C)
    assert "| digits | raw | 64 |" in (tmp_path / "features.md").read_text()
    assert (tmp_path / "features.png").stat().st_size > 10_000
    # A second run has nothing left to measure.
    capsys.readouterr()
    features.main()
    assert "seed=" not in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "features.csv")) == len(table)


def test_speed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["speed", "--quick", "--repeats", "1"])
    monkeypatch.setattr(
        speed, "LARGE", dataclasses.replace(speed.LARGE, widths=(784, 16, 8, 16, 784))
    )
    speed.main()
    printed = capsys.readouterr().out
    assert len(re.findall(r"skautoenc +\d+ us a step +1\.00 of ours", printed)) == 3
    assert re.search(r"MLPRegressor +\d+ us a step +\d+\.\d\d of ours", printed)
    assert re.search(r"\d+\.\d\d of the products alone", printed)


def test_search(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["search", "--quick", "--repeats", "1"])
    monkeypatch.setattr(search, "RATES", [0.001, 0.01])
    monkeypatch.setattr(search, "SMALL", (speed.SMALL[1], speed.SMALL[1]))
    search.main()
    printed = capsys.readouterr().out
    assert len(re.findall(r"together, n_jobs=2 +\d+\.\d\d s", printed)) == 4
    (largest,) = set(re.findall(r"difference of a mean score: (\S+) of it", printed))
    assert float(largest) < 1e-3


def test_patches(monkeypatch, capsys):
    argv = ["patches", "--images", "300", "--repeats", "1"]
    monkeypatch.setattr(sys, "argv", argv)
    patches.main()
    assert re.search(r"ratio: \d+\.\d\d", capsys.readouterr().out)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["memory", "--scale", "0.01"])
    monkeypatch.setattr(memory, "CASES", dict(list(memory.CASES.items())[-1:]))
    memory.main()
    printed = capsys.readouterr().out
    (fitted,) = re.findall(r"CSR: fit (\d+) MiB, transform \d+ MiB", printed)
    # The rows would be 20 MB as an array, and twice as much in float64.
    assert int(fitted) < 150


@pytest.fixture
def small_tables(monkeypatch):
    monkeypatch.setattr(tables, "SOURCES", {"births": tables.SOURCES["births"]})
    monkeypatch.setattr(tables, "SEEDS", (0,))
    monkeypatch.setattr(tables, "N_FOLDS", 2)
    monkeypatch.setattr(tables, "RATES", (0.3,))
    monkeypatch.setattr(tables, "PENALTIES", tables.PENALTIES[::5])
    monkeypatch.setattr(trees, "N_CANDIDATES", 2)


def test_features_of_tables(small_tables, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tables", "features"])
    tables.main()
    printed = capsys.readouterr().out
    assert re.search(r"births +openintro births14 +weight +1000 +5 +6 +231", printed)
    difference = r" +[+-]\d+\.\d\d ± \d+\.\d\d"
    assert re.search(rf"\nbirths( +\d+\.\d\d){{8}}({difference}){{6}}\n", printed)


def test_features_of_tables_go_on(small_tables, monkeypatch, tmp_path, capsys):
    output = tmp_path / "lines.csv"
    line = ["tables", "features", "--output", str(output), "--features", "raw"]
    monkeypatch.setattr(sys, "argv", line)
    tables.main()
    before = pd.read_csv(output)
    monkeypatch.setattr(sys, "argv", [*line, "random forest"])
    tables.main()
    lines = pd.read_csv(output)
    assert len(lines) == 2 * len(before) == 4
    pd.testing.assert_frame_equal(lines[:2], before)
    assert capsys.readouterr().out.count("features=raw ") == 2


def test_imputation_of_tables(small_tables, monkeypatch, tmp_path, capsys):
    output = tmp_path / "lines.csv"
    monkeypatch.setattr(sys, "argv", ["tables", "imputation", "--output", str(output)])
    tables.main()
    lines = pd.read_csv(output).set_index("imputer")
    # The mean is off by one standard deviation on average.
    assert lines["RMSE"]["mean"] == pytest.approx(1, abs=0.1)
    assert lines["RMSE"]["autoencoder"] < lines["RMSE"]["mean"]
    assert "Mean rank" in capsys.readouterr().out


def test_speed_of_tables(monkeypatch, capsys):
    large = tables.make_large
    monkeypatch.setattr(tables, "make_large", lambda: large(500))
    monkeypatch.setattr(sys, "argv", ["tables", "speed"])
    tables.main()
    assert re.search(r"transform, code \(rows/s\) +\d+", capsys.readouterr().out)


def test_example_of_tables(monkeypatch, tmp_path, capsys):
    frame, outcome = plot_table.load()
    chosen = frame.index[::10]
    monkeypatch.setattr(
        plot_table, "load", lambda: (frame.loc[chosen], outcome[chosen])
    )
    output = tmp_path / "table.png"
    monkeypatch.setattr(sys, "argv", ["plot_table", "--output", str(output)])
    plot_table.main()
    printed = capsys.readouterr().out
    assert re.search(r"Missing values: \d+ before imputation, 0 after", printed)
    assert len(re.findall(r"Row \d+, \w+: \w+, expected \w+", printed)) == 12
    assert output.stat().st_size > 10_000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_stream(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["stream", "--scale", "0.02"])
    monkeypatch.setattr(stream, "BUFFER_ROWS", 5000)
    monkeypatch.setattr(stream, "BLOCK_ROWS", 1000)
    stream.main()
    printed = capsys.readouterr().out
    assert "100,000 x 1,000: 381 MiB" in printed
    (beyond,) = re.findall(r"anonymous memory beyond it: (-?\d+) MiB", printed)
    assert int(beyond) < 150


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_scale(monkeypatch, capsys):
    pytest.importorskip("dask.array", reason="needs skautoenc[dask]")
    from benchmarks import scale

    monkeypatch.setattr(sys, "argv", ["scale", "--scale", "0.1"])
    scale.main()
    printed = capsys.readouterr().out
    assert "tasks run by lazy calls: 0" in printed
    (beyond,) = re.findall(r"memory beyond the buffer: (-?\d+) MiB", printed)
    assert int(beyond) < 4 * 8 + 64


def test_outliers(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    for name in ("a", "B", "http"):
        X = rng.normal(size=(80, 3))
        X[:8] *= 5
        np.savez(tmp_path / f"{name}.npz", X=X, y=(np.arange(80) < 8).astype(int))
    output = tmp_path / "lines.csv"
    line = ["outliers", "--data-dir", str(tmp_path), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", line)
    outliers.main()
    table = pd.read_csv(output)
    # Sorted by name without regard to case, these are at odd positions.
    assert set(table["set"]) == {"a", "http"}
    assert table["AUROC"].between(0.5, 1).all()
    printed = capsys.readouterr().out
    assert "Without http" in printed
    assert "False alarms" in printed


def test_plot_outliers(tmp_path, monkeypatch, capsys):
    frame = plot_outliers.load().iloc[:300]
    monkeypatch.setattr(plot_outliers, "load", lambda: frame)
    output = tmp_path / "outliers.png"
    monkeypatch.setattr(sys, "argv", ["plot_outliers", "--output", str(output)])
    plot_outliers.main()
    assert output.stat().st_size > 10_000
    assert "of the 40 most unusual rows" in capsys.readouterr().out


def test_plot_density(tmp_path, monkeypatch, capsys):
    output = tmp_path / "density.png"
    monkeypatch.setattr(
        sys, "argv", ["plot_density", "--output", str(output), "--max-iter", "2"]
    )
    plot_density.main()
    assert output.stat().st_size > 10_000
    assert "nats" in capsys.readouterr().out


def test_density_compares_methods(monkeypatch, capsys):
    monkeypatch.setattr(
        density, "candidates", lambda method, *_: [density.PCA(2), density.PCA(4)]
    )
    (line,) = density.lines(["diabetes"], [0])
    assert line["k = 8"] >= line["start"]
    methods = "PPCA", "GaussianMixture", "KernelDensity", density.OURS
    assert len({line[method] for method in methods}) == 1
    assert line["lead"] == 0
    density.print_summary(pd.DataFrame([line, line]))
    assert "deviation of lead" in capsys.readouterr().out


def test_density_of_images(monkeypatch, capsys):
    X, y = load_digits(return_X_y=True)
    rows = (X[::2] / 16).astype(np.float32), y[::2]
    monkeypatch.setattr(density_images, "read", lambda folder, part: rows)
    monkeypatch.setattr(density_images, "_C", (0.1,))
    monkeypatch.setattr(density_images, "_N_SAMPLES", 20)
    monkeypatch.setattr(density_images, "_N_BETWEEN", 10)
    density_images.print_bounds(Path(), [20], seed=0, seconds=100)
    lines = capsys.readouterr().out.splitlines()
    early, late, mixed = (
        float(line.split()[-4]) for line in (lines[0], lines[3], lines[5])
    )
    assert early < late
    assert mixed > late - 0.2
    density_images.print_bounds(Path(), [20], seed=0, seconds=0)
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 epochs")
    monkeypatch.setattr(density_images, "_N_STEPS", 20)
    density_images.print_layers(Path(), [200], seed=0)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(", ")[:2] for line in lines] == [
        [name, kind]
        for name in ("digits", "200 of MNIST")
        for kind in ("dense", "convolutions") * 2
    ]
    density_images.print_samples(Path(), seed=0, n_epochs=2)
    lines = capsys.readouterr().out.splitlines()
    shares = [float(line.split("%")[0].split()[-1]) for line in lines]
    assert len(shares) == 3
    assert min(shares) > 50


def test_draws(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(draws, "N_ROWS", 100)
    monkeypatch.setattr(draws, "N_DRAWS", 5)
    output = tmp_path / "lines.csv"
    line = ["draws", "--output", str(output), "--data", "titanic"]
    monkeypatch.setattr(sys, "argv", line)
    draws.main()
    table = pd.read_csv(output)
    # The full forest takes minutes, and only runs when it is asked for.
    assert len(table) == len(draws.REASONS) * (len(draws.IMPUTERS) - 1)
    assert (table["CRPS"] > 0).all()
    assert "Mean rank" in capsys.readouterr().out


def test_labels_compares_methods(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(labels, "SHARES", (0.1,))
    output = tmp_path / "labels.csv"
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "labels",
            "--data",
            "cancer",
            "mnist",
            "--seeds",
            "0",
            "--output",
            str(output),
        ],
    )
    labels.main()
    table = pd.read_csv(output)
    assert table["method"].tolist() == list(labels.METHODS)
    assert (table["accuracy"] > 0.8).all()
    assert "lead" in capsys.readouterr().out


def test_contenders_of_an_accelerator_train():
    task = accelerator.Task((200, 8), (8, 16, 4, 16, 8), 32, 2)
    times = accelerator.measure(task, "cpu", 1)
    assert len(times) == 5
    assert min(times.values()) > 0
    fits = accelerator.ours, accelerator.ours_one_by_one
    first, second = (fit("cpu", task.make_rows(), task) for fit in fits)
    assert first.loss_curve_ == second.loss_curve_
