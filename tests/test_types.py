"""What type checkers know: fitted attributes, and the class of chains."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from skautoenc._persistence.saving import public_estimators

SNIPPET = """
from typing import assert_type

import numpy as np
from numpy.typing import NDArray

from skautoenc import (
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    ConvVariationalAutoencoder,
    PatchAutoencoderTransformer,
    SemiSupervisedAutoencoder,
    TabularAutoencoderTransformer,
    VariationalAutoencoder,
)

X = np.eye(9)
dense = AutoencoderTransformer().set_params(alpha=1.0).set_output(transform="pandas")
chain = dense.set_callbacks().set_fit_request(sample_weight=True).fit(X)
assert_type(chain, AutoencoderTransformer)
assert_type(dense.partial_fit(X), AutoencoderTransformer)
assert_type(dense.n_components_, int)
assert_type(dense.loss_curve_, list[float])
assert_type(dense.sparsity_, str | None)
assert_type(dense.validation_scores_, list[float] | None)
assert_type(dense.feature_names_in_, NDArray[np.object_])
assert_type(dense.score(X), float)
assert_type(ConvAutoencoderTransformer().fit(X).image_shape_, tuple[int, int, int])
assert_type(PatchAutoencoderTransformer().fit(X).autoencoder_.loss_, float)
table = TabularAutoencoderTransformer().fit(X)
assert_type(table.column_kinds_, dict[str, str])
assert_type(AutoencoderImputer().fit(X).autoencoder_, TabularAutoencoderTransformer)
detector = AutoencoderOutlierDetector().fit(X)
assert_type(detector, AutoencoderOutlierDetector)
assert_type(detector.offset_, float)
assert_type(VariationalAutoencoder().fit(X).likelihood_, str)
assert_type(ConvVariationalAutoencoder().fit(X).image_shape_, tuple[int, int, int])
assert_type(SemiSupervisedAutoencoder().fit(X).n_label_components_, int)
"""


@pytest.mark.slow  # mypy reads the types of torch and numpy.
def test_chains_keep_their_class_and_attributes_their_types(tmp_path):
    pytest.importorskip("mypy")
    path = tmp_path / "snippet.py"
    path.write_text(SNIPPET)
    root = Path(__file__).parent.parent
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", root / "pyproject.toml", path],
        env={**os.environ, "MYPYPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout


@pytest.mark.integrations
def test_pyright_agrees(tmp_path):
    """Editors use pyright; it is installed by ``pip install basedpyright``."""
    pytest.importorskip("basedpyright")
    (tmp_path / "snippet.py").write_text(SNIPPET)
    root = str(Path(__file__).parent.parent)
    settings = {"typeCheckingMode": "standard", "extraPaths": [root]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    run = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("kind", public_estimators(), ids=lambda kind: kind.__name__)
def test_documented_attributes_are_declared(kind):
    section = re.split(r"\n    [A-Z][A-Za-z ]+\n    -+\n", kind.__doc__)
    titles = re.findall(r"\n    ([A-Z][A-Za-z ]+)\n    -+\n", kind.__doc__)
    text = section[1 + titles.index("Attributes")]
    names = {
        name.strip()
        for names in re.findall(r"^    (\w[\w, ]*) :", text, re.MULTILINE)
        for name in names.split(",")
    }
    declared = {
        name for each in kind.__mro__ for name in vars(each).get("__annotations__", ())
    }
    properties = {
        name for name in names if isinstance(getattr(kind, name, None), property)
    }
    assert names
    assert names <= declared | properties
