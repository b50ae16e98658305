"""Entities that several rows of a table share, in the output of `features="spread"`."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from skautoenc import Blocks, TabularAutoencoderTransformer, load
from skautoenc._networks.entities import MOST_ENTITIES, find_entities
from skautoenc._networks.spread import HEIGHT, Spread

N_PEOPLE, N_EACH = 80, 6
PERSON = ("age", "town", "school", "car", "pets")


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(0)
    people = pd.DataFrame(
        {
            "age": 100.1 + 0.37 * rng.integers(20, 30, N_PEOPLE),
            "town": rng.choice(["Ulm", "Bonn", "Kiel", "Jena"], N_PEOPLE),
            "school": rng.choice(["a", "b", "c", "d", "e", "f"], N_PEOPLE),
            "car": rng.choice(["red", "blue", "green"], N_PEOPLE),
            "pets": rng.integers(0, 5, N_PEOPLE).astype(float),
        }
    )
    people.loc[::10, "age"] = np.nan
    people.loc[::15, "town"] = None
    return people


@pytest.fixture(scope="module")
def owners(people):
    return np.random.default_rng(1).permutation(np.repeat(people.index, N_EACH))


@pytest.fixture(scope="module")
def frame(people, owners):
    """Purchases, with the columns of who bought."""
    rng = np.random.default_rng(2)
    frame = people.iloc[owners].reset_index(drop=True)
    frame.insert(1, "paid", rng.exponential(size=len(frame)))
    frame["shop"] = rng.choice(["x", "y", "z"], len(frame))
    return frame


def make(**parameters):
    parameters = {"max_iter": 3, "random_state": 0, **parameters}
    return TabularAutoencoderTransformer(4, features="spread", **parameters)


@pytest.fixture(scope="module")
def fitted(frame):
    return make().fit(frame)


def of_entities(fitted, frame):
    """Return the columns of entities."""
    names = fitted.get_feature_names_out()
    table = pd.DataFrame(fitted.transform(frame), columns=names)
    return table[[name for name in names if "+" in name]]


@pytest.fixture(scope="module")
def entities(fitted, frame):
    return of_entities(fitted, frame)


def test_each_entity_has_a_column(entities, people, owners):
    kinds = {name.rpartition("_")[0] for name in entities}
    assert kinds == {"+".join(PERSON)} or all(
        set(kind.split("+")) <= set(PERSON) for kind in kinds
    )
    values = entities.to_numpy()
    assert set(np.unique(values)) == {0, HEIGHT}
    # One person may look like another: people are those that differ.
    n_different = len(people.drop_duplicates())
    assert len(np.unique(values, axis=0)) == n_different
    for person in people.index:
        of_person = values[owners == person]
        assert (of_person == of_person[0]).all()
        assert (of_person[0] > 0).sum() == len(kinds)


def test_unknown_entities_have_none(fitted, frame):
    rows = frame[:5].assign(age=99.0, school="new", pets=77.0)
    assert not of_entities(fitted, rows).to_numpy().any()


def test_single_rows(fitted, frame):
    whole = fitted.transform(frame)
    for row in (0, 11, len(frame) - 1):
        found = fitted.transform(frame[row : row + 1])
        np.testing.assert_array_equal(found[0], whole[row])


def test_a_linear_model_learns_them(frame, people, owners):
    y = np.random.default_rng(3).normal(size=len(people))[owners]
    model = make_pipeline(make(max_iter=20), Ridge())
    with_entities = cross_val_score(model, frame, y, cv=3).mean()
    model.set_params(tabularautoencodertransformer__features="stack")
    stack = cross_val_score(model, frame, y, cv=3).mean()
    assert with_entities > 0.8
    assert with_entities > stack + 0.2


def test_files(fitted, frame, tmp_path):
    fitted.save(tmp_path / "table.skautoenc")
    expected = fitted.transform(frame)
    for same in (
        load(tmp_path / "table.skautoenc"),
        pickle.loads(pickle.dumps(fitted)),
    ):
        np.testing.assert_array_equal(same.transform(frame), expected)
        assert list(same.get_feature_names_out()) == list(
            fitted.get_feature_names_out()
        )


def test_checkpoints(frame, tmp_path):
    first = make(checkpoint=tmp_path).fit(frame).transform(frame)
    again = make(checkpoint=tmp_path).fit(frame).transform(frame)
    np.testing.assert_array_equal(first, again)


def test_fits_in_parts(frame, entities):
    blocks = make().fit(Blocks([frame[:200], frame[200:]]))
    found = of_entities(blocks, frame)
    np.testing.assert_array_equal(found, entities)
    estimator = make().partial_fit(frame)
    for _ in range(2):
        found = of_entities(estimator, frame)
        np.testing.assert_array_equal(found, entities)
        estimator.partial_fit(frame[:100])
    continued = make(warm_start=True).fit(frame).fit(frame)
    np.testing.assert_array_equal(of_entities(continued, frame), entities)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_onnx(fitted, frame, dtype):
    runtime = pytest.importorskip("onnxruntime")
    from skautoenc.onnx import to_onnx

    model = to_onnx(fitted, dtype=dtype)
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    inputs = {}
    for each in session.get_inputs():
        column = frame[each.name]
        if "string" in each.type:
            values = column.fillna("").astype(str).to_numpy(object)
        else:
            values = column.to_numpy(dtype)
        inputs[each.name] = values.reshape(-1, 1)
    found = session.run(None, inputs)[0]
    np.testing.assert_allclose(found, fitted.transform(frame), atol=1e-4)


def test_weights_of_zero(frame):
    """Rows without weight share no entities."""
    twice = pd.concat([frame, frame.assign(paid=-1.0)])
    weights = np.repeat([1.0, 0.0], len(frame))
    weighted = make(max_iter=1).fit(twice, sample_weight=weights)
    alone = make(max_iter=1).fit(frame)
    assert list(weighted.get_feature_names_out()) == list(alone.get_feature_names_out())


@pytest.mark.parametrize("kind", ["independent", "pairs", "chain", "sum", "normal"])
def test_tables_without_entities(kind):
    rng = np.random.default_rng(4)
    n = 2000
    columns = rng.integers(0, 4, (n, 8))
    if kind == "pairs":
        columns = np.hstack([columns, columns // 2, columns[:, ::-1]])
    if kind == "chain":
        for column in range(1, 8):
            kept = rng.random(n) < 0.8
            columns[kept, column] = columns[kept, column - 1]
    if kind == "sum":
        columns = np.column_stack([columns, columns.sum(axis=1)])
    if kind == "normal":
        columns = rng.normal(size=(n, 2)) @ rng.normal(size=(2, 8))
        columns = columns.round(1)
    assert find_entities(columns.astype(np.float32)) == []


def test_repeated_rows_are_no_entities(frame):
    rng = np.random.default_rng(5)
    cells = rng.integers(0, 5, (300, 6)).astype(np.float32)
    assert find_entities(cells[rng.integers(0, 300, 2000)]) == []
    assert find_entities(cells[:1]) == []
    assert find_entities(cells[:0]) == []
    assert find_entities(cells[:, :0]) == []


def test_entities_of_all_rows_are_found():
    rng = np.random.default_rng(7)
    people = rng.integers(0, 6, (700, 1)) + rng.integers(0, 4, (700, 10))
    people = np.unique(people, axis=0)
    rows = rng.permutation(np.repeat(people, 4, axis=0))
    X = np.column_stack([rows, rng.normal(size=len(rows))])
    estimator = make(max_iter=1).fit(X)
    entities = [name for name in estimator.get_feature_names_out() if "+" in name]
    assert len(entities) == len(people)


def test_number_of_entities_is_limited():
    rng = np.random.default_rng(6)
    people = rng.integers(0, 8, (3000, 1)) + rng.integers(0, 4, (3000, 12))
    rows = np.repeat(people, 3, axis=0)
    cells = np.column_stack([rows, rng.integers(0, 50, len(rows))])
    found = find_entities(cells.astype(np.float32))
    assert sum(len(kind.values) for kind in found) == MOST_ENTITIES


@pytest.mark.parametrize("entities", [[((0, 9), 3)], [((-1,), 3)], [((0,), 10**9)]])
def test_no_file_has_entities_that_its_columns_lack(entities):
    with pytest.raises(ValueError, match="entities"):
        Spread(2, 0, (3, 3), entities)
