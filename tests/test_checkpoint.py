"""Fits that are killed and started again."""

import multiprocessing
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import check_random_state

from skautoenc import (
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    PatchAutoencoderTransformer,
    TabularAutoencoderTransformer,
    train_together,
)


class Killed(BaseException):
    """Ends a fit between two epochs, unlike any other exception."""


class Epochs:
    """A callback that counts epochs, and ends a fit after some of them.

    The last of them is not written down any more.
    """

    def __init__(self, n_epochs=-1, ends_by=Killed):
        self.n_epochs = n_epochs
        self.ends_by = ends_by
        self.n_seen = 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, **others):
        if context.task_name != "epoch":
            return False
        self.n_seen += 1
        if self.n_seen != self.n_epochs:
            return False
        if self.ends_by is None:
            return True
        raise self.ends_by


def table():
    rng = np.random.default_rng(0)
    return rng.normal(size=(600, 3)) @ rng.normal(size=(3, 16)) + 1.0


@pytest.fixture
def X():
    return table()


def killed(estimator, X, n_epochs=4, **others):
    """Fit until it is killed."""
    estimator = clone(estimator).set_callbacks(Epochs(n_epochs))
    with pytest.raises(Killed):
        estimator.fit(X, **others)


def counted(estimator, X, **others):
    """Fit a copy to the end; return it and the number of epochs that were trained."""
    epochs = Epochs()
    estimator = clone(estimator).set_callbacks(epochs)
    return estimator.fit(X, **others), epochs.n_seen


def result(estimator, X):
    """Return all fitted attributes as bytes."""
    weights = estimator.network_.state()["weights"]
    return {
        "weights": {name: array.tobytes() for name, array in weights.items()},
        "loss_curve_": estimator.loss_curve_,
        "validation_scores_": estimator.validation_scores_,
        "best_validation_score_": estimator.best_validation_score_,
        "n_dead_": estimator.n_dead_,
        "transform": estimator.transform(X).tobytes(),
    }


# Processes that are killed

CASES = {
    "sparse, noisy, revived": AutoencoderTransformer(
        64, corruption_rate=0.2, max_iter=80, batch_size=16, n_iter_no_change=80
    ),
    "early stopping, dropout, batch normalisation": AutoencoderTransformer(
        3,
        early_stopping=True,
        dropout=0.1,
        normalization="batch",
        hidden_layer_sizes=(32,),
        max_iter=60,
        n_iter_no_change=60,
        batch_size=16,
    ),
    "momentum": AutoencoderTransformer(
        24, solver="sgd", learning_rate_init=0.01, max_iter=60, batch_size=16, tol=0
    ),
    "images": ConvAutoencoderTransformer(3, max_iter=12, max_shift=1, batch_size=16),
    "table": TabularAutoencoderTransformer(8, max_iter=30, batch_size=16),
}


def store(found, path):
    partial = path.with_suffix(".partial")
    partial.write_bytes(pickle.dumps(found))
    partial.replace(path)


def fit_and_store(case, folder, path):
    """Run a fit to its end, in a process that may be killed."""
    X = table()
    estimator = clone(CASES[case]).set_params(checkpoint=folder, random_state=0).fit(X)
    store(result(estimator, X), path)


def fit_images(folder, path):
    """Run the fit of an autoencoder within another estimator."""
    X = table()
    inner = AutoencoderTransformer(16, max_iter=12, batch_size=32, checkpoint=folder)
    estimator = PatchAutoencoderTransformer(inner, n_patches=2000, random_state=0)
    found = {"transform": estimator.fit(X).transform(X).tobytes()}
    found |= result(estimator.autoencoder_, table()[:, :4])
    store(found, path)


def fit_warm(folder, path):
    """Run two fits, of which the second continues the first."""
    X = table()
    estimator = AutoencoderTransformer(
        24, warm_start=True, max_iter=30, batch_size=16, random_state=0, tol=0
    )
    estimator.set_params(checkpoint=folder).fit(X)
    estimator.set_params(learning_rate_init=0.001, early_stopping=True).fit(X)
    store(result(estimator, X), path)


# Longer fits, which are killed a dozen times; the others are of a second or two.
LONGEST = {"early stopping, dropout, batch normalisation", "images", "table"}
LONG = pytest.mark.slow


def killed_at_random(target, arguments, folder, n_kills):
    """Return the result of a fit without kills, and after each number of kills."""
    # Processes that have imported everything before they begin.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["skautoenc", "test_checkpoint"])
    draw = random.Random(0)

    def run(name, seconds=None):
        """Return the result, or None if the process was killed."""
        found = folder / f"{name}.pickle"
        process = context.Process(
            target=target, args=(*arguments, folder / name, found)
        )
        process.start()
        process.join(seconds)
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        return pickle.loads(found.read_bytes()) if process.exitcode == 0 else None

    run("first")
    began = time.monotonic()
    whole = run("whole")
    took = time.monotonic() - began
    pieced, survived, n_rounds = [], 0, 0
    while survived < n_kills:
        n_rounds += 1
        for _ in range(n_kills):
            found = run(f"killed {n_rounds}", draw.uniform(0, took))
            if found is not None:
                break
            survived += 1
        pieced.append(found or run(f"killed {n_rounds}"))
    print(f"{survived} kills survived, in fits of {took:.2f} s")
    return whole, pieced


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        *(
            pytest.param(fit_and_store, [case], marks=LONG if case in LONGEST else ())
            for case in CASES
        ),
        (fit_images, []),
        (fit_warm, []),
    ],
    ids=[*CASES, "patches", "warm start"],
)
def test_a_killed_fit_ends_with_the_bytes_of_one_that_was_not(
    target, arguments, tmp_path
):
    whole, pieced = killed_at_random(target, arguments, tmp_path, n_kills=5)
    assert all(found == whole for found in pieced)


# What resumes, and what does not


@pytest.fixture
def quick(tmp_path):
    return AutoencoderTransformer(
        3, max_iter=9, random_state=0, checkpoint=tmp_path / "checkpoint"
    )


def test_only_what_is_left_is_trained(quick, X):
    whole, n_epochs = counted(clone(quick).set_params(checkpoint=None), X)
    assert n_epochs == 9
    killed(quick, X)
    resumed, n_epochs = counted(quick, X)
    # The first epoch is always saved.
    assert 5 < n_epochs < 9
    assert result(resumed, X) == result(whole, X)


def test_a_fit_that_is_done_is_not_trained_again(quick, X):
    first, _ = counted(quick, X)
    again, n_epochs = counted(quick, X)
    assert n_epochs == 0
    assert result(again, X) == result(first, X)


def test_a_fit_that_a_callback_stopped_is_done(quick, X):
    stopped = clone(quick).set_callbacks(Epochs(3, ends_by=None)).fit(X)
    again, n_epochs = counted(quick, X)
    assert (stopped.n_iter_, n_epochs) == (3, 0)
    assert result(again, X) == result(stopped, X)


def test_an_interrupted_fit_resumes(quick, X):
    whole = clone(quick).set_params(checkpoint=None).fit(X)
    interrupted = clone(quick).set_callbacks(Epochs(4, ends_by=KeyboardInterrupt))
    with pytest.warns(UserWarning, match="interrupted"):
        interrupted.fit(X)
    resumed, n_epochs = counted(quick, X)
    assert n_epochs < 9
    assert result(resumed, X) == result(whole, X)


def test_without_a_seed_it_resumes_with_the_seed_of_the_killed_fit(quick, X):
    quick.set_params(random_state=None)
    killed(quick, X)
    shutil.copytree(quick.checkpoint, f"{quick.checkpoint} again")
    resumed, n_epochs = counted(quick, X)
    assert n_epochs < 9
    again = clone(quick).set_params(checkpoint=f"{quick.checkpoint} again").fit(X)
    assert result(again, X) == result(resumed, X)


def test_a_random_state_differs_from_its_later_state(quick, X):
    random_state = np.random.RandomState(0)
    quick.set_params(random_state=random_state)
    first, second = quick.fit(X).loss_curve_, quick.fit(X).loss_curve_
    assert first != second
    quick.set_params(random_state=np.random.RandomState(0))
    assert quick.fit(X).loss_curve_ == first
    assert quick.fit(X).loss_curve_ == second


class Network(torch.nn.Module):
    """A network of the user's."""

    def __init__(self, n_features, n_components):
        super().__init__()
        # The code alone does not show this difference.
        width = int(os.environ.get("WIDTH_OF_THE_NETWORK", "3"))
        self.first = torch.nn.Linear(n_features, width)
        self.encode = torch.nn.Sequential(
            self.first, torch.nn.Dropout(0.1), torch.nn.Linear(width, n_components)
        )
        self.decode = torch.nn.Linear(n_components, n_features)


def test_a_network_of_the_users(quick, X, monkeypatch):
    quick.set_params(network=Network)
    whole = clone(quick).set_params(checkpoint=None).fit(X)
    killed(quick, X)
    with monkeypatch.context() as patched:
        patched.setenv("WIDTH_OF_THE_NETWORK", "4")
        with pytest.raises(ValueError, match="of a network with other weights"):
            quick.fit(X)
    resumed, n_epochs = counted(quick, X)
    assert n_epochs < 9
    assert result(resumed, X) == result(whole, X)


def test_images_of_another_shape_are_another_fit(quick, X):
    parameters = {"max_iter": 2, "random_state": 0, "checkpoint": quick.checkpoint}
    estimator = ConvAutoencoderTransformer(2, **parameters)
    for shape in ((4, 4), (2, 8)):
        assert counted(estimator, X.reshape(-1, *shape))[1] == 2


def test_threads_may_train_the_same_fit(quick, X):
    with ThreadPoolExecutor(4) as pool:
        fits = pool.map(lambda _: clone(quick).fit(X), range(4))
    whole = clone(quick).set_params(checkpoint=None).fit(X)
    assert all(result(fit, X) == result(whole, X) for fit in fits)


def test_with_a_seed_the_global_one_is_left_alone(quick, X):
    before = torch.get_rng_state(), pickle.dumps(check_random_state(None))
    quick.fit(X)
    assert pickle.dumps(check_random_state(None)) == before[1]
    assert torch.equal(torch.get_rng_state(), before[0])


def test_a_start_that_was_better_is_not_forgotten(quick, X):
    quick.set_params(early_stopping=True, warm_start=True, max_iter=20)

    def worsened(checkpoint, *callbacks):
        estimator = clone(quick).set_params(checkpoint=None).fit(X)
        estimator.set_params(learning_rate_init=0.3, checkpoint=checkpoint)
        return estimator.set_callbacks(*callbacks).fit(X)

    whole = worsened(None)
    with pytest.raises(Killed):
        worsened(quick.checkpoint, Epochs(4))
    resumed = worsened(quick.checkpoint)
    assert whole.best_validation_score_ > max(whole.validation_scores_[20:])
    assert result(resumed, X) == result(whole, X)


def test_what_is_looked_at_does_not_matter(quick, X):
    killed(quick, X)
    assert counted(clone(quick).set_params(verbose=True), X)[1] < 9


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"max_iter": 10}, "max_iter was 9 and is now 10"),
        ({"alpha": 0.1}, r"alpha was 0 and is now 0\.1"),
        ({"random_state": 1}, "random_state was 0 and is now 1"),
    ],
)
def test_another_fit_gets_a_warning_with_the_differences(quick, X, change, named):
    killed(quick, X)
    other = clone(quick).set_params(**change)
    with pytest.warns(UserWarning, match=f"left unfinished.*: {named}\\. This fit st"):
        other.fit(X)
    alone = clone(other).set_params(checkpoint=None).fit(X)
    assert result(other, X) == result(alone, X)
    assert counted(quick, X)[1] < 9


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda X: X[:-1], "shape of X"),
        (lambda X: X.astype(np.float32), "type of X"),
        (lambda X: X + 1e-12 * (np.arange(len(X)) == 5)[:, None], "hash of X"),
    ],
)
def test_other_data_is_another_fit(quick, X, change, named):
    killed(quick, X)
    with pytest.warns(UserWarning, match=f"{named} was .* and is now"):
        assert counted(quick, change(X))[1] == 9


def test_other_weights_are_another_fit(quick, X):
    weights = np.linspace(1, 2, len(X))
    killed(quick, X, sample_weight=weights)
    with pytest.warns(UserWarning, match="hash of sample_weight was"):
        assert counted(quick, X)[1] == 9
    assert counted(quick, X, sample_weight=weights)[1] < 9


def test_a_search_resumes(quick, X):
    y = X[:, 0] > 1

    def search(checkpoint, *callbacks):
        autoencoder = clone(quick).set_params(checkpoint=checkpoint)
        autoencoder.set_callbacks(*callbacks)
        grid = {
            "autoencodertransformer__n_components": [2, 4],
            "logisticregression__C": [0.1, 1.0],
        }
        pipeline = make_pipeline(autoencoder, LogisticRegression())
        return GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y)

    whole = search(None)
    with pytest.raises(Killed):
        search(quick.checkpoint, Epochs(14))
    epochs = Epochs()
    resumed = search(quick.checkpoint, epochs)
    scores = "mean_test_score"
    assert list(resumed.cv_results_[scores]) == list(whole.cv_results_[scores])
    # Two codes on two folds and one on all rows, whatever is done with them.
    assert epochs.n_seen < 5 * 9 - 9


def test_joint_fits_resume_jointly(quick, X):
    def search(checkpoint):
        autoencoder = clone(quick).set_params(checkpoint=checkpoint)
        grid = {"learning_rate_init": [0.001, 0.002, 0.005], "max_iter": [6, 9]}
        return GridSearchCV(autoencoder, grid, cv=2, error_score="raise")

    with train_together():
        whole = search(None).fit(X)
    for rate in (0.001, 0.005):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            killed(clone(quick).set_params(learning_rate_init=rate), X[300:])
    with train_together(), warnings.catch_warnings():
        # Fits that have not had their turn are left unfinished.
        warnings.filterwarnings("ignore", message=".*left unfinished")
        pieced = search(quick.checkpoint).fit(X)
    scores = "mean_test_score"
    np.testing.assert_allclose(
        pieced.cv_results_[scores], whole.cv_results_[scores], rtol=1e-4
    )
    assert pieced.best_params_ == whole.best_params_


def test_patches_need_a_seed(quick, X):
    with pytest.raises(ValueError, match="needs a random_state"):
        PatchAutoencoderTransformer(quick).fit(X)


def test_partial_fit_writes_nothing(quick, X):
    quick.partial_fit(X)
    assert not quick.checkpoint.exists()


# Faults


def written(quick):
    (path,) = quick.checkpoint.glob("*/*.safetensors")
    return path


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b[:999] + b"x" + b[1000:]]
)
def test_a_damaged_checkpoint_is_refused(quick, X, damage):
    killed(quick, X)
    path = written(quick)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"damaged.*Delete it to start anew"):
        quick.fit(X)
    path.unlink()
    assert counted(quick, X)[1] == 9


class Asleep(Epochs):
    """A callback that does not return from the third epoch."""

    def on_fit_task_end(self, estimator, context, **others):
        super().on_fit_task_end(estimator, context, **others)
        while self.n_seen == 3:
            time.sleep(1)


def fit_and_fall_asleep(estimator, X):
    clone(estimator).set_callbacks(Asleep()).fit(X)


def test_a_second_process_waits_while_the_first_lives(quick, X, capsys):
    context = multiprocessing.get_context("forkserver")
    first = context.Process(target=fit_and_fall_asleep, args=(quick, X))
    first.start()
    while not list(quick.checkpoint.glob("*/unfinished.safetensors")):
        time.sleep(0.01)
    # Another fit is not affected.
    assert counted(clone(quick).set_params(max_iter=2), X)[1] == 2
    whole = clone(quick).set_params(checkpoint=None).fit(X)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(counted, quick.set_params(verbose=True), X)
        told = ""
        while "Waiting for another process" not in told:
            time.sleep(0.01)
            told += capsys.readouterr().out
        assert "Epoch" not in told
        first.kill()
        first.join()
        resumed, n_epochs = second.result()
    assert n_epochs < 9
    assert result(resumed, X) == result(whole, X)


def test_a_file_in_the_place_of_the_folder(quick, X):
    quick.checkpoint.write_text("something else")
    with pytest.raises(OSError, match="cannot be written to"):
        counted(quick, X)


def in_a_process(code):
    """Run code in its own process and return its output."""
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


FIT = """
import os, resource, tempfile, warnings
import numpy as np
from skautoenc import AutoencoderTransformer

X = np.random.default_rng(0).normal(size=(600, 16))
AutoencoderTransformer(3, max_iter=1).fit(X)
"""


def test_a_read_only_folder_is_refused_before_training(tmp_path):
    code = """
    folder = tempfile.mkdtemp()
    os.chmod(folder, 0o555)
    if os.getuid() == 0:
        # For root, no folder is read-only.
        os.setuid(65534)
    estimator = AutoencoderTransformer(3, verbose=True, checkpoint=folder + "/here")
    try:
        estimator.fit(X)
    except PermissionError as error:
        print(error)
    """
    found = in_a_process(FIT + textwrap.dedent(code))
    assert "The checkpoint folder cannot be written to (Permission denied)" in found
    assert "Epoch" not in found


def test_a_disk_that_fills_up_does_not_end_training(tmp_path):
    code = """
    parameters = {"n_components": 256, "max_iter": 6, "random_state": 0}
    whole = AutoencoderTransformer(**parameters).fit(X)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = AutoencoderTransformer(checkpoint=folder, **parameters).fit(X)
    for warning in caught:
        print(warning.message)
    print(fitted.loss_curve_ == whole.loss_curve_)
    """
    folder = f"folder = {str(tmp_path)!r}\n"
    message, same = in_a_process(FIT + folder + textwrap.dedent(code)).splitlines()
    assert "cannot be written (File too large). Training goes on" in message
    assert same == "True"
    names = {path.name for path in tmp_path.glob("*/*")}
    assert names == {"lock", "fit.json"}


def fit_until_the_disk_is_full(estimator, X):
    """Make writing fail for lack of space after the second epoch."""

    class Full(Epochs):
        def on_fit_task_end(self, estimator, context, **others):
            super().on_fit_task_end(estimator, context, **others)
            if self.n_seen == 3:
                resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    with pytest.warns(UserWarning, match="cannot be written"):
        clone(estimator).set_callbacks(Full()).fit(X)


def test_what_was_written_before_the_disk_was_full_is_whole(quick, X):
    quick.set_params(n_components=256)
    whole = clone(quick).set_params(checkpoint=None).fit(X)
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=fit_until_the_disk_is_full, args=(quick, X))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert written(quick).name == "unfinished.safetensors"
    resumed, n_epochs = counted(quick, X)
    assert 6 < n_epochs < 9
    assert result(resumed, X) == result(whole, X)
