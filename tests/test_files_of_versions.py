"""Files of every version of the format can be loaded."""

import io

import numpy as np
import pandas as pd
import pytest
from make_files import FILES, Straight, estimators

import skautoenc
from skautoenc._persistence.files import unpack
from skautoenc._persistence.saving import FORMAT_VERSION
from skautoenc._persistence.schemas import OPTIONAL

STORED = sorted(FILES.glob("*/*.safetensors"))


@pytest.fixture(scope="module")
def made():
    return estimators()


def test_there_are_files_of_every_version():
    versions = {int(path.parent.name) for path in STORED}
    assert versions == set(range(1, FORMAT_VERSION + 1))


@pytest.mark.parametrize("path", STORED, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_it_loads_and_gives_what_it_gave(path, made):
    _, X = made[path.stem]
    options = {"network": Straight} if path.stem == "own" else {}
    loaded = skautoenc.load(path, **options)
    expected = np.load(path.with_suffix(".npz"))
    # Other processors and versions of torch round differently.
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(loaded.transform(X), expected["code"], **close)
    again = loaded.inverse_transform(expected["code"])
    if hasattr(again, "columns"):
        text = io.StringIO(again.to_csv(index=False))
        table = pd.read_csv(path.with_suffix(".csv"))
        pd.testing.assert_frame_equal(pd.read_csv(text), table, **close)
        assert again.dtypes.equals(X.dtypes)
    else:
        np.testing.assert_allclose(again, expected["again"], **close)
    assert path.stat().st_size < 16_000
    # Later operations depend on the present version, but must work.
    goes_on = getattr(loaded, "partial_fit", loaded.fit)
    goes_on(X)


@pytest.mark.parametrize("name", sorted({path.stem for path in STORED}))
def test_the_newest_files_are_what_is_written_now(name, made, tmp_path):
    # If not, files of this version could not be distinguished from older ones: raise
    # FORMAT_VERSION, write the migration, and run make_files.py.
    estimator, _ = made[name]
    estimator.save(tmp_path / "now")
    now = _outline(tmp_path / "now")
    newest = _outline(FILES / str(FORMAT_VERSION) / f"{name}.safetensors")
    assert now["attributes"] >= newest["attributes"]
    assert now["arrays"] == newest["arrays"]
    # New attributes may be missing, and new parameters have defaults.
    assert now["attributes"] - newest["attributes"] <= OPTIONAL
    assert now["parameters"] >= newest["parameters"]


def _outline(path):
    """Return the names and types in a file, without values."""
    document, arrays = unpack(path.read_bytes())
    inside = document["estimator"]["estimator"]
    return {
        "parameters": set(inside["params"]),
        "attributes": set(inside["fitted"]),
        "arrays": {name: (array.dtype, array.ndim) for name, array in arrays.items()},
    }
