"""Memory, processes and threads."""

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from skautoenc import (
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    PatchAutoencoderTransformer,
    TabularAutoencoderTransformer,
)


def in_a_process(code, n_threads=1):
    """Run code in its own process and return its output."""
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(n_threads)},
        timeout=300,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


OUT_OF_MEMORY = """
import resource
from pathlib import Path
import numpy as np
from skautoenc import AutoencoderTransformer

X = np.random.default_rng(0).normal(size=(500, 400))
AutoencoderTransformer(3, max_iter=1).fit(X)
fields = Path("/proc/self/statm").read_text().split()
limit = int(fields[0]) * resource.getpagesize() + 2**28
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
estimator = AutoencoderTransformer(**{parameters})
try:
    estimator.{method}(X)
except MemoryError as error:
    print(error)
    print(hasattr(estimator, "network_"))
estimator.set_params(n_components=3, batch_size=10).fit(X)
print(estimator.n_components_)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux")
@pytest.mark.parametrize(
    ("parameters", "method"),
    [
        ({"n_components": 300_000}, "fit"),
        # Each starts a process.
        *(
            pytest.param(*others, marks=pytest.mark.slow)
            for others in [
                ({"n_components": 300_000}, "partial_fit"),
                ({"n_components": 60_000, "batch_size": 500}, "fit"),
            ]
        ),
    ],
)
def test_without_memory_the_error_gives_advice(parameters, method):
    """The first two have no memory for the network, the last one for a batch."""
    code = OUT_OF_MEMORY.format(parameters=parameters, method=method)
    message, is_fitted, width = in_a_process(code).splitlines()
    n_components = parameters["n_components"]
    assert message.startswith("Memory ran out in the fit of AutoencoderTransformer.")
    assert f"n_components (now {n_components})" in message
    assert f"batch_size (now {parameters.get('batch_size', 'auto')!r})" in message
    assert (is_fitted, width) == ("False", "3")


FORKED = """
import os, signal
import numpy as np
from skautoenc import AutoencoderTransformer
from skautoenc._training.resources import step_work

X = np.random.default_rng(0).normal(size=(1000, 1000)).astype(np.float32)
parameters = {"max_iter": 1, "batch_size": 500, "random_state": 0}
wide = AutoencoderTransformer(512, **parameters).fit(X)
code = wide.transform(X)
child = os.fork()
if child == 0:
    # It ends after a timeout if it would wait forever.
    signal.alarm(60)
    same = np.array_equal(wide.transform(X), code)
    again = AutoencoderTransformer(512, **parameters).fit(X)
    print(same, np.allclose(again.transform(X), code, atol=1e-3), flush=True)
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_is_forked_after_a_fit_does_not_wait_for_ever():
    """Of threads that a wide network was trained by, none live on in it."""
    assert in_a_process(FORKED, n_threads=2).split() == ["True", "True", "0"]


@pytest.mark.parametrize(
    "estimator",
    [
        AutoencoderTransformer(32, sparsity="lifetime", whiten_code=True, max_iter=2),
        ConvAutoencoderTransformer(4, max_iter=1),
        PatchAutoencoderTransformer(
            AutoencoderTransformer(16, max_iter=1, batch_size=1024), n_patches=2000
        ),
        TabularAutoencoderTransformer(4, max_iter=1),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_threads_transform_at_once(estimator, train_rows):
    estimator.set_params(random_state=0).fit(train_rows)
    methods = [estimator.transform, lambda X: estimator.inverse_transform(wanted[0])]
    if hasattr(estimator, "score_samples"):
        methods.append(estimator.score_samples)
    wanted = [estimator.transform(train_rows)]
    wanted += [method(train_rows) for method in methods[1:]]
    calls = list(range(len(methods))) * 8
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda number: methods[number](train_rows), calls)
    for number, values in zip(calls, found, strict=True):
        np.testing.assert_array_equal(values, wanted[number])
