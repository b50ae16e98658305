"""Collections of other libraries as input of `fit`, and through `Blocks`."""

import threading
import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone

from skautoenc import (
    AutoencoderTransformer,
    Blocks,
    ConvAutoencoderTransformer,
    PatchAutoencoderTransformer,
    TabularAutoencoderTransformer,
)
from skautoenc._data import partitions

NAMES = [f"x{column}" for column in range(6)]


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(500, 2)) @ rng.normal(size=(2, 6)) + rng.random((500, 6))


@pytest.fixture
def quick():
    return AutoencoderTransformer(2, max_iter=3, batch_size=50, random_state=0)


@pytest.fixture(scope="module")
def expected(X):
    """Return the fit of the array in memory."""
    quick = AutoencoderTransformer(2, max_iter=3, batch_size=50, random_state=0)
    return weights(quick.fit(X))


def weights(estimator):
    state = estimator.network_.state()["weights"]
    return {name: array.tobytes() for name, array in state.items()}


def dask_array(X, _):
    da = pytest.importorskip("dask.array", reason="needs skautoenc[dask]")
    # Chunks that split columns, too.
    return da.from_array(X, chunks=(120, 4))


def dask_array_of_unknown_sizes(X, folder):
    array = dask_array(X, folder)
    return array[array[:, 0] < np.inf]


def dask_frame(X, _):
    dd = pytest.importorskip("dask.dataframe", reason="needs skautoenc[dask]")
    return dd.from_pandas(pd.DataFrame(X, columns=NAMES), npartitions=4)


def lazy_frame(X, folder):
    pl.DataFrame(X, NAMES).write_parquet(folder / "x.parquet")
    return pl.scan_parquet(folder / "x.parquet")


def arrow_dataset(X, folder):
    dataset = pytest.importorskip("pyarrow.dataset")
    frame = pd.DataFrame(X, columns=NAMES)
    for number in range(2):
        part = frame.iloc[250 * number : 250 * (number + 1)]
        part.to_parquet(folder / f"{number}.parquet")
    return dataset.dataset(folder)


def zarr_array(X, folder):
    zarr = pytest.importorskip("zarr", reason="needs zarr")
    array = zarr.create_array(folder / "x", shape=X.shape, dtype="f8", chunks=(90, 4))
    array[:] = X
    return array


def hdf5_dataset(X, folder):
    h5py = pytest.importorskip("h5py", reason="needs h5py")
    return h5py.File(folder / "x.h5", "w").create_dataset("x", data=X, chunks=(90, 6))


def xarray_of_dask(X, folder):
    xarray = pytest.importorskip("xarray", reason="needs xarray")
    return xarray.DataArray(dask_array(X, folder), dims=("row", "column"))


class RayDataset:
    """The methods of a data set of Ray that are used."""

    def __init__(self, batches):
        self.batches = batches

    def materialize(self):
        raise AssertionError

    def iter_batches(self, *, batch_size, batch_format):
        assert batch_format == "numpy"
        return iter(self.batches)


def ray_columns(X, _):
    return RayDataset(
        [dict(zip(NAMES, part.T, strict=True)) for part in (X[:90], X[90:])]
    )


def ray_tensors(X, _):
    return RayDataset([{"data": part} for part in (X[:90], X[90:])])


COLLECTIONS = [
    dask_array,
    dask_array_of_unknown_sizes,
    dask_frame,
    lazy_frame,
    arrow_dataset,
    zarr_array,
    hdf5_dataset,
    xarray_of_dask,
    ray_columns,
    ray_tensors,
]
NAMED = dask_frame, lazy_frame, arrow_dataset, ray_columns


@pytest.fixture
def small_parts(monkeypatch):
    """Read parts of at most a hundred rows."""
    monkeypatch.setattr(partitions, "_PART_BYTES", 100 * 6 * 8)


@pytest.mark.parametrize("make", COLLECTIONS)
def test_a_fit_has_the_bytes_of_an_array(
    X, quick, expected, make, tmp_path, small_parts
):
    collection = make(X, tmp_path)
    parts = list(Blocks(collection))
    assert len(parts) > 1
    assert sum(len(part) for part in parts) == len(X)
    quick.fit(collection)
    assert weights(quick) == expected
    assert hasattr(quick, "feature_names_in_") == (make in NAMED)
    assert weights(quick.fit(Blocks(collection, buffer_size=1000))) == expected
    assert weights(clone(quick).fit(Blocks([collection]))) == expected


@pytest.mark.parametrize("make", [dask_frame, lazy_frame, hdf5_dataset])
def test_the_buffer_is_that_of_blocks(X, quick, expected, make, tmp_path, small_parts):
    quick.fit(Blocks(make(X, tmp_path), buffer_size=100))
    assert weights(quick) != expected
    assert quick.loss_ < 0.5


def test_images(X):
    da = pytest.importorskip("dask.array", reason="needs skautoenc[dask]")
    images = X.reshape(-1, 2, 3)
    for estimator in (
        ConvAutoencoderTransformer(2, max_iter=1, random_state=0),
        PatchAutoencoderTransformer(
            AutoencoderTransformer(4, max_iter=1), random_state=0
        ),
    ):
        whole = clone(estimator).fit(images).transform(images)
        chunked = da.from_array(images, chunks=(120, 1, 2))
        estimator.fit(chunked)
        assert estimator.image_shape_ == (2, 3, 1)
        assert estimator.transform(images).tobytes() == whole.tobytes()


def test_tables():
    dd = pytest.importorskip("dask.dataframe", reason="needs skautoenc[dask]")
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"size": rng.normal(size=300), "kind": rng.choice(["a", "b"], 300)}
    )
    table.loc[::7, "size"] = np.nan
    estimator = TabularAutoencoderTransformer(max_iter=1, random_state=0)
    whole = clone(estimator).fit(table).transform(table)
    parts = clone(estimator).fit(dd.from_pandas(table, npartitions=3))
    assert parts.transform(table).tobytes() == whole.tobytes()
    lazy = clone(estimator).fit(pl.from_pandas(table).lazy())
    assert weights(lazy) == weights(parts)


def test_weights_and_partial_fit(X, quick):
    given = np.linspace(0, 2, len(X))
    collection = dask_array(X, None)
    whole = clone(quick).fit(X, sample_weight=given)
    assert weights(clone(quick).fit(collection, sample_weight=given)) == weights(whole)
    assert weights(clone(quick).partial_fit(collection)) == weights(
        clone(quick).partial_fit(X)
    )


def test_a_partition_is_read_while_another_is_used():
    both = threading.Barrier(2, timeout=20)
    seen = []

    def read():
        for number in range(3):
            seen.append(threading.current_thread())
            if number == 1:
                both.wait()
            yield number

    items = partitions.ahead(read())
    assert next(items) == 0
    both.wait()
    assert list(items) == [1, 2]
    assert threading.current_thread() not in seen
    assert not any(thread.is_alive() for thread in seen)


def test_blocks_read_collections_ahead():
    threads = []

    class Recorded(RayDataset):
        def iter_batches(self, **others):
            for batch in super().iter_batches(**others):
                threads.append(threading.current_thread())
                yield batch

    parts = [{"data": np.full((2, 3), number)} for number in range(3)]
    blocks = list(Blocks(Recorded(parts)))
    assert [int(block[0, 0]) for block in blocks] == [0, 1, 2]
    assert len(threads) == 3
    assert threading.current_thread() not in threads


def test_no_thread_is_left_where_reading_ends_early():
    before = threading.active_count()
    items = partitions.ahead(iter(range(9)))
    assert next(items) == 0
    items.close()
    assert threading.active_count() == before


def test_an_error_of_a_partition_reaches_the_user(X, quick):
    delayed = pytest.importorskip("dask", reason="needs skautoenc[dask]").delayed
    import dask.array as da

    def fail():
        raise OSError("The disk is gone")

    parts = [
        da.from_delayed(value, (250, 6), float)
        for value in (delayed(X[:250]), delayed(fail)())
    ]
    with pytest.raises(OSError, match="disk is gone"):
        quick.fit(da.concatenate(parts))


def test_a_fault_is_named_by_its_row(X, quick):
    faulty = X.copy()
    faulty[321, 4] = np.nan
    with pytest.raises(ValueError, match="NaN: row 321, column 4"):
        quick.fit(dask_array(faulty, None))


def test_memory_is_that_of_the_buffer_and_a_few_partitions(quick):
    da = pytest.importorskip("dask.array", reason="needs skautoenc[dask]")
    rows = da.random.default_rng(0).random(
        (60_000, 400), dtype=np.float32, chunks=(2500, 400)
    )
    quick.set_params(max_iter=1, batch_size=500)
    quick.fit(rows[:5000])
    tracemalloc.start()
    quick.fit(Blocks(rows, buffer_size=5000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The buffer has 8 MB, a partition 4 MB, all rows 96 MB.
    assert peak < 8e6 + 4 * 4e6 + 20e6


@pytest.mark.parametrize(
    "parameters", [{"n_neighbors": 3}, {"normalize_rows": "total", "loss": "poisson"}]
)
def test_what_needs_all_rows_refuses(X, quick, parameters):
    with pytest.raises(ValueError, match="None for Blocks and collections"):
        quick.set_params(**parameters).fit(dask_array(np.abs(X), None))


def test_data_that_is_not_in_memory_is_refused_elsewhere(X, quick, tmp_path):
    lazy = lazy_frame(X, tmp_path)
    quick.fit(lazy)
    with pytest.raises(TypeError, match=r"LazyFrame, whose rows.*X.collect\(\)"):
        quick.transform(lazy)
    with pytest.raises(TypeError, match="fit_transform does not take"):
        quick.fit_transform(lazy)


def test_what_is_no_matrix(X, quick):
    dask = pytest.importorskip("dask", reason="needs skautoenc[dask]")
    with pytest.raises(TypeError, match=r"Delayed\w* of Dask"):
        quick.fit(dask.delayed(X))
    with pytest.raises(ValueError, match="Expected 2D array, got 1D"):
        quick.fit(dask_array(X, None)[:, 0])
    with pytest.raises(ValueError, match="Expected 2D array, got a Series of Dask"):
        quick.fit(dask_frame(X, None)["x0"])
    with pytest.raises(ValueError, match="two are needed"):
        quick.fit(dask_array(X, None)[:1])


@pytest.mark.integrations
@pytest.mark.filterwarnings("ignore")
def test_ray(X, quick, expected):
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        columns = ray.data.from_pandas(
            [pd.DataFrame(part, columns=NAMES) for part in (X[:90], X[90:])]
        )
        tensors = ray.data.from_numpy([X[:90], X[90:]])
        for dataset in (columns, tensors, columns.map_batches(lambda batch: batch)):
            assert weights(quick.fit(dataset)) == expected
    finally:
        ray.shutdown()
