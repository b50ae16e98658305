"""Checkpoints tell fits apart, wait for each other, and stand damage and forks."""

import copy
import functools
import itertools
import json
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from test_checkpoint import Epochs, Killed, counted, killed, result, table
from torch import nn

import skautoenc
from skautoenc import (
    AutoencoderTransformer,
    TabularAutoencoderTransformer,
    clear_checkpoints,
    train_together,
)
from skautoenc._files import pack, unpack
from skautoenc._identity import identify
from skautoenc.networks import custom
from skautoenc.training import checkpoint as checkpoints
from skautoenc.training import locks

try:
    import cloudpickle
except ImportError:
    # Older versions of joblib bring their own.
    from joblib.externals import cloudpickle

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture
def X():
    return table()


@pytest.fixture
def quick(tmp_path):
    return AutoencoderTransformer(
        3, max_iter=9, random_state=0, checkpoint=tmp_path / "checkpoint"
    )


def in_a_process(code, *arguments, seed="0"):
    """Run code in a process of its own and return what it prints."""
    found = subprocess.run(
        [sys.executable, *arguments, *(() if code is None else ("-c", code))],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": seed},
        timeout=300,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


# What tells one piece of code from another

# Each makes a `builder` that differs by VALUE alone.
KINDS = {
    "constant": "def builder(): return VALUE",
    "nested constant": "def builder(): return [lambda: VALUE for _ in 'ab']",
    "constant in a set": "def builder(x): return x in {'b', 'a', VALUE}",
    "closure": "def make(v): return lambda: v\nbuilder = make(VALUE)",
    "list in a closure": "def make(v): return lambda: v\nbuilder = make([0, [VALUE]])",
    "dictionary": "def make(v): return lambda: v\nbuilder = make({'a': {VALUE: 1}})",
    "set": "def make(v): return lambda: v\nbuilder = make({'b', 'a', VALUE})",
    "array": (
        "import numpy as np\ndef make(v): return lambda: v\n"
        "builder = make(np.array([VALUE]))"
    ),
    "array of objects": (
        "import numpy as np\ndef make(v): return lambda: v\n"
        "builder = make(np.array([VALUE, None]))"
    ),
    "default": "def builder(v=VALUE): return v",
    "keyword default": "def builder(*, v=VALUE): return v",
    "attribute of a function": "def builder(): pass\nbuilder.v = VALUE",
    "partial": "from functools import partial\nbuilder = partial(print, VALUE)",
    "keyword of a partial": (
        "from functools import partial\nbuilder = partial(print, end=VALUE)"
    ),
    "partial of a partial": (
        "from functools import partial\ndef f(*args): pass\n"
        "builder = partial(partial(f, VALUE), 1)"
    ),
    "bound method": (
        "class Maker:\n def __init__(self): self.v = VALUE\n def build(self): pass\n"
        "builder = Maker().build"
    ),
    "instance that can be called": (
        "class Maker:\n def __init__(self): self.v = [VALUE]\n"
        " def __call__(self): pass\nbuilder = Maker()"
    ),
    "instance with slots": (
        "class Maker:\n __slots__ = ('v',)\n def __call__(self): pass\n"
        "builder = Maker()\nbuilder.v = VALUE"
    ),
    "class attribute": "class builder:\n v = VALUE",
    "class attribute set later": "class builder:\n pass\nbuilder.v = VALUE",
    "method": "class builder:\n def __init__(self): self.v = VALUE",
    "property": "class builder:\n @property\n def v(self): return VALUE",
    "static method": "class builder:\n @staticmethod\n def v(): return VALUE",
    "class method": (
        "class Base:\n @classmethod\n def build(cls): pass\n"
        "class Own(Base): v = VALUE\nbuilder = Own.build"
    ),
    "base class": "class Base:\n v = VALUE\nclass builder(Base): pass",
    "metaclass": (
        "class Meta(type):\n def make(cls): return VALUE\n"
        "class builder(metaclass=Meta): pass"
    ),
    "local class": (
        "def make():\n class Net:\n  def __init__(self): super().__init__(); VALUE\n"
        "  v = VALUE\n return Net\nbuilder = make()"
    ),
    "made class": "builder = type('Net', (), {'v': VALUE})",
    "data class": (
        "from dataclasses import dataclass\n@dataclass(frozen=True)\n"
        "class Config:\n v: object\n"
        "def make(c): return lambda: c.v\nbuilder = make(Config(VALUE))"
    ),
    "enumeration": (
        "from enum import Enum\nclass Kind(Enum):\n A = VALUE\n"
        "def builder(kind=Kind.A): pass"
    ),
    "global": "V = VALUE\ndef builder(): return V",
    "global of a nested function": "V = VALUE\ndef builder(): return lambda: V",
    "global of a class body": (
        "V = VALUE\ndef builder():\n class Net:\n  v = V\n return Net"
    ),
    "global object": (
        "from types import SimpleNamespace\nconfig = SimpleNamespace(v=VALUE)\n"
        "def builder(): return config.v"
    ),
    "helper": "def helper(): return VALUE\ndef builder(): return helper()",
    "helpers that call each other": (
        "def one(n): return n and two(n - 1)\ndef two(n): return n and one(VALUE)\n"
        "def builder(): return one(1)"
    ),
    "helping class": "class Help:\n v = VALUE\ndef builder(): return Help().v",
    "decorated": (
        "import functools\ndef twice(f):\n @functools.wraps(f)\n"
        " def inner(): f(); return f()\n return inner\n"
        "@twice\ndef builder(): return VALUE"
    ),
    "cached": "import functools\n@functools.lru_cache\ndef builder(): return VALUE",
    "without gradients": (
        "import torch\n@torch.no_grad()\ndef builder(): return VALUE"
    ),
    "weak reference": (
        "import weakref\nclass C: pass\nheld = C()\nheld.v = VALUE\n"
        "def builder(r=weakref.ref(held)): return r().v"
    ),
    "cell of itself": (
        "def make():\n def build(n=VALUE): return build\n return build\nbuilder = make()"
    ),
    "lock beside it": (
        "import threading\nlock = threading.Lock()\nV = VALUE\n"
        "def builder():\n with lock: return V"
    ),
    "logger beside it": (
        "import logging\nlog = logging.getLogger('a')\nV = VALUE\n"
        "def builder(): log.info('a'); return V"
    ),
    "module of torch": (
        "from torch import nn\ndef make(m): return lambda: m\n"
        "builder = make(nn.Sequential(nn.Flatten(), nn.Identity()))\n"
        "builder.v = VALUE"
    ),
}
VALUES = ["3", "4", "3.0", "-0.0", "0.0", "True", "'3'", "b'3'", "None", "(3,)", "3j"]


def made(source, *, name="first", file="first.py", value="3"):
    """Run code of the user's, and return the builder that it makes."""
    names = {"__name__": name, "__package__": "", "__file__": file}
    exec(compile(source.replace("VALUE", value), file, "exec"), names)
    return names["builder"]


@pytest.mark.parametrize("kind", KINDS)
def test_code_is_told_apart_by_what_it_does_and_not_by_where_it_stands(kind):
    source = KINDS[kind]
    values = VALUES
    if kind.startswith("array"):
        values = ["3", "4", "3.0", "True", "'3'", "3j"]
    found = [identify(made(source, value=value)) for value in values]
    assert len(set(found)) == len(values)
    moved = f"# A comment.\n\n\n{source}\n# Another."
    for name, file in (("first", "other.py"), ("other.module", "/x/other/module.py")):
        again = [
            identify(made(moved, name=name, file=file, value=value)) for value in values
        ]
        assert again == found


def identities(path):
    """Identify all of these as they are made here, and as they come from a process."""
    found = {kind: identify(made(source)) for kind, source in KINDS.items()}
    pickled = pickle.loads(path.read_bytes())
    sent = {kind: identify(pickle.loads(data)) for kind, data in pickled.items()}
    path.write_text(json.dumps([found, sent]))


def test_code_is_the_same_in_every_process(tmp_path):
    here, pickled = {}, {}
    for kind, source in KINDS.items():
        builder = made(source, name="__main__")
        here[kind] = identify(builder)
        if kind == "global of a class body":
            # cloudpickle itself leaves it behind.
            continue
        with suppress(TypeError, pickle.PicklingError):
            pickled[kind] = cloudpickle.dumps(builder)
    # A lock and a reference stay where they are.
    assert len(KINDS) - 6 < len(pickled)
    path = tmp_path / "found"
    path.write_bytes(pickle.dumps(pickled))
    code = f"import sys\nsys.path[:0] = {sys.path!r}\nimport pathlib\n"
    code += "import test_checkpoint_faults as tests\n"
    code += f"tests.identities(pathlib.Path({str(path)!r}))"
    in_a_process(code, seed="1")
    there, sent = json.loads(path.read_text())
    assert there == here
    assert sent == {kind: here[kind] for kind in pickled}


def test_what_is_done_with_code_does_not_change_it():
    factory = Factory(nn.ReLU)
    slots = made(KINDS["instance with slots"])
    builders = [made(KINDS[kind]) for kind in ("constant", "closure", "helper")]
    builders += [factory, slots]
    found = [identify(builder) for builder in builders]
    # Both leave something behind: faster instructions, and names kept by a class.
    for builder in builders[:3]:
        for _ in range(1000):
            builder()
    pickle.dumps(factory)
    copy.copy(slots)
    assert [identify(builder) for builder in builders] == found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("builder = nn.ReLU", "builder = nn.Tanh"),
        ("builder = torch.relu", "builder = torch.tanh"),
        ("builder = F.relu", "builder = F.silu"),
        ("builder = partial(f, nn.ReLU)", "builder = partial(f, nn.Tanh)"),
        ("builder = partial(f, a=1, b=2)", "builder = partial(f, b=2, a=1)"),
        ("builder = lambda x: F.relu(x)", "builder = lambda x: F.silu(x)"),
        ("act = nn.ReLU\ndef builder(): act", "act = nn.Tanh\ndef builder(): act"),
        (
            "import math as m\ndef builder(): m.e",
            "import cmath as m\ndef builder(): m.e",
        ),
        ("def builder(a, b): a", "def builder(b, a): b"),
        ("def builder(a): a", "def builder(*, a): a"),
        ("def builder(a): return a.one", "def builder(a): return a.two"),
        ("def builder(): yield 1", "def builder(): return 1"),
        ("def builder(x):\n try: x()\n finally: x", "def builder(x): x(); x"),
        ("builder = partial(f, torch.zeros(2))", "builder = partial(f, torch.ones(2))"),
        (
            "builder = partial(f, torch.zeros(2))",
            "builder = partial(f, torch.zeros(2, dtype=torch.bfloat16))",
        ),
        ("builder = partial(f, np.zeros(4))", "builder = partial(f, np.zeros((2, 2)))"),
        (
            "builder = partial(f, np.zeros(4))",
            "builder = partial(f, np.zeros(4, 'f4'))",
        ),
        (
            "builder = partial(f, np.random.default_rng(0))",
            "builder = partial(f, np.random.default_rng(1))",
        ),
        (
            "builder = partial(f, torch.Generator().manual_seed(0))",
            "builder = partial(f, torch.Generator().manual_seed(1))",
        ),
        (
            "a = nn.Linear(2, 2)\nbuilder = partial(f, [a, a])",
            "a = nn.Linear(2, 2)\nimport copy\nbuilder = partial(f, [a, copy.deepcopy(a)])",
        ),
        (
            "class A:\n def m(s): return 1\nclass B(A): pass\nclass builder(B): pass",
            "class A:\n def m(s): return 2\nclass B(A): pass\nclass builder(B): pass",
        ),
        (
            "builder = partial(f, pd.Series([1]))",
            "builder = partial(f, pd.Series([2]))",
        ),
        ("builder = operator.itemgetter(1)", "builder = operator.itemgetter(2)"),
        ("builder = 'ab'.join", "builder = 'abc'.join"),
    ],
)
def test_code_that_differs_is_told_apart(one, other):
    imports = (
        "import operator\nimport numpy as np\nimport pandas as pd\nimport torch\n"
        "from functools import partial\nfrom torch import nn\n"
        "from torch.nn import functional as F\n"
        "def f(*args, **others): pass\ntorch.manual_seed(0)\n"
    )
    with torch.random.fork_rng():
        first = identify(made(imports + one))
        assert identify(made(imports + one)) == first
        assert identify(made(imports + other)) != first


USES = [
    "import own_models\ndef builder(): return own_models.build()",
    "import own_models as m\ndef builder(): return m.build()",
    "def builder():\n import own_models\n return own_models.build()",
    "def builder():\n from own_models import build\n return build()",
    "from own_models import build as builder",
    "import own_models\ndef builder(): return getattr(own_models, 'bu' + 'ild')()",
    "import own_models\ndef make(m): return lambda: m.build()\n"
    "builder = make(own_models)",
    "def builder():\n class Net:\n  import own_models\n  v = own_models.build()",
    "def builder():\n from . import own_models\n return own_models.build()",
]


def test_code_of_another_module_of_the_users(tmp_path):
    found = []
    for value in (3, 4, 3):
        text = f"WIDTH = {value}\ndef build(): return WIDTH\n"
        (tmp_path / "own_models.py").write_text(text)
        (tmp_path / "package").mkdir(exist_ok=True)
        (tmp_path / "package" / "__init__.py").touch()
        (tmp_path / "package" / "own_models.py").write_text(text)
        code = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n"
        code += "sys.dont_write_bytecode = True\n"
        code += "from skautoenc._identity import identify\n"
        code += f"for use in {USES!r}:\n"
        code += "    names = {'__name__': '__main__', '__package__': 'package'}\n"
        code += "    exec(use, names)\n"
        code += "    print(identify(names['builder']))"
        found.append(in_a_process(code).splitlines())
    assert found[0] == found[2]
    assert len(found[0]) == len(USES)
    assert all(one != other for one, other in zip(*found[:2], strict=True))


REFUSED = {
    "a file": lambda: open(os.devnull),  # noqa: SIM115
    "a generator": lambda: (each for each in [1]),
    "a module that was made": lambda: type(os)("made"),
    "values of threads": threading.local,
    "a scripted module": lambda: torch.jit.script(nn.Linear(2, 2)),
    "a tensor without memory": lambda: torch.empty(2, device="meta"),
    "something too deep": lambda: functools.reduce(lambda a, _: [a], range(5000), []),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore:unclosed file")
@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_identity_is_refused_by_name(quick, X, what):
    held = REFUSED[what]()

    def builder(n_features, n_components, held=held):
        return Net(n_features, n_components)

    message = r"The parameter 'network' of AutoencoderTransformer holds .*checkpoint"
    with pytest.raises(ValueError, match=message) as caught:
        quick.set_params(network=builder).fit(X)
    if what not in ("a scripted module", "something too deep"):
        assert "(the defaults of 'test_what_has" in str(caught.value)
    assert not quick.checkpoint.exists()
    # Without a checkpoint nobody asks.
    quick.set_params(checkpoint=None).fit(X)


class Net(nn.Module):
    """A network of the user's."""

    def __init__(self, n_features, n_components, activation=nn.ReLU):
        super().__init__()
        self.encode = nn.Sequential(
            nn.Linear(n_features, 6), activation(), nn.Linear(6, n_components)
        )
        self.decode = nn.Linear(n_components, n_features)


class Factory:
    def __init__(self, activation):
        self.activation = activation

    def build(self, n_features, n_components):
        return Net(n_features, n_components, self.activation)

    __call__ = build


def by_closure(activation):
    return lambda n_features, n_components: Net(n_features, n_components, activation)


def by_class(of_activation):
    class Own(Net):
        def __init__(self, n_features, n_components):
            super().__init__(n_features, n_components, of_activation)

    return Own


FACTORIES = {
    "closure": by_closure,
    "partial": lambda activation: functools.partial(Net, activation=activation),
    "method": lambda activation: Factory(activation).build,
    "instance": Factory,
    "class": by_class,
    "made class": lambda activation: type(
        "Own",
        (Net,),
        {"__init__": functools.partialmethod(Net.__init__, activation=activation)},
    ),
}


@pytest.mark.parametrize("factory", FACTORIES)
def test_networks_of_one_factory_are_fits_of_their_own(quick, X, factory):
    builders = [FACTORIES[factory](each) for each in (nn.ReLU, nn.Tanh, nn.Hardshrink)]
    found = []
    for folder in (None, quick.checkpoint, quick.checkpoint):
        one = clone(quick).set_params(max_iter=3, checkpoint=folder)
        search = GridSearchCV(one, {"network": builders}, cv=2, error_score="raise")
        found.append(search.fit(X).cv_results_["mean_test_score"])
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert len(set(found[0])) == 3
    # Two folds of each, and the best on all rows; the second search trained nothing.
    assert len(list(quick.checkpoint.iterdir())) == 7


SCRIPT = """
import sys, tempfile
import numpy as np
from sklearn.model_selection import GridSearchCV
from torch import nn
from skautoenc import AutoencoderTransformer

WIDTH = 6

class Net(nn.Module):
    def __init__(self, n_features, n_components, activation):
        super().__init__()
        self.encode = nn.Sequential(
            nn.Linear(n_features, WIDTH), activation(), nn.Linear(WIDTH, n_components)
        )
        self.decode = nn.Linear(n_components, n_features)

def build(activation):
    class Own(Net):
        def __init__(self, n_features, n_components):
            super().__init__(n_features, n_components, activation)
    return Own

if __name__ == "__main__":
    X = np.random.default_rng(0).normal(size=(100, 6))
    folder, n_jobs = sys.argv[1:]
    one = AutoencoderTransformer(2, max_iter=2, random_state=0, checkpoint=folder)
    grid = {"network": [build(nn.ReLU), build(nn.Tanh)]}
    search = GridSearchCV(one, grid, cv=2, n_jobs=int(n_jobs), error_score="raise")
    print(search.fit(X).cv_results_["mean_test_score"])
"""


def test_workers_find_the_fits_of_a_script_in_any_place(tmp_path):
    found = set()
    for name, n_jobs in (("here/script.py", "2"), ("there/moved.py", "1")):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text("#\n" * len(name) + SCRIPT)
        found.add(in_a_process(None, str(path), str(tmp_path / "folder"), n_jobs))
        assert len(list((tmp_path / "folder").iterdir())) == 5
    assert len(found) == 1


class Mine(AutoencoderTransformer):
    rate = 0.5

    def _build_network(self, n_features):
        return super()._build_network(n_features)


def test_a_subclass_is_told_apart_by_its_code(quick, X, monkeypatch):
    quick = Mine(**quick.get_params())
    assert counted(quick, X)[1] == 9
    assert counted(quick, X)[1] == 0
    monkeypatch.setattr(Mine, "rate", 0.6)
    assert counted(quick, X)[1] == 9


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("alpha", [0, 0.0, -0.0, np.float64(0), np.float32(0), np.int8(0)]),
        ("alpha", [0.5, np.float64(0.5), np.float16(0.5)]),
        ("n_components", [3, np.int64(3), np.uint8(3)]),
        ("max_iter", [2, np.int32(2)]),
        ("random_state", [7, np.int64(7), np.uint16(7)]),
        ("shuffle", [True, np.True_]),
        ("hidden_layer_sizes", [(8,), [8], np.array([8]), (np.int16(8),)]),
        ("device", ["cpu", torch.device("cpu"), np.str_("cpu")]),
        ("loss", ["huber", np.str_("huber")]),
    ],
)
def test_equal_parameters_are_one_fit(quick, X, name, same):
    quick.set_params(max_iter=2)
    counts = [counted(clone(quick).set_params(**{name: v}), X)[1] for v in same]
    assert counts == [2] + [0] * (len(same) - 1)


def test_parameters_that_are_only_like_each_other_are_two_fits():
    values = [
        *[0, 1, 0.1, 0.5, True, False, None, "None", "0", "True", ()],
        *[
            [0, 1],
            [False, True],
            ["0", "1"],
            [[0], 1],
            {"a": 0},
            {"a": False},
            ["a", 0],
        ],
        *[float("nan"), float("inf"), 2**53 + 1, 2**53],
    ]
    texts = [identify(value) for value in values]
    assert len(set(texts)) == len(values)


def test_the_order_of_a_mapping_does_not_matter():
    rates = {"number": 0.1, "b": 0.2, 3: 0}
    for names in itertools.permutations(rates):
        assert identify({name: rates[name] for name in names}) == identify(rates)


def test_columns_of_a_table_that_change_names_are_another_fit(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 2)), columns=["a", "b"])
    estimator = TabularAutoencoderTransformer(
        2, max_iter=2, random_state=0, corruption_rate={"a": 0.9}, checkpoint=tmp_path
    )
    assert counted(estimator, frame)[1] == 2
    assert counted(estimator, frame)[1] == 0
    assert counted(estimator, frame.rename(columns={"a": "b", "b": "a"}))[1] == 2
    estimator.set_params(corruption_rate={"b": 0, "a": np.float64(0.9)})
    assert counted(estimator, frame)[1] == 2


def test_a_warm_start_is_told_apart_by_all_that_it_takes_over(tmp_path):
    # The same bits in other units: all that differs is the mean.
    X = np.random.default_rng(0).integers(0, 8, size=(64, 4)).astype(float)
    estimators = []
    for offset in (0.0, 16.0):
        estimator = AutoencoderTransformer(2, max_iter=2, random_state=0)
        estimators.append(estimator.set_params(warm_start=True).fit(X + offset))
    first, second = (e.network_.state()["weights"] for e in estimators)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    whole = [clone_of(estimator).fit(X) for estimator in estimators]
    kept = [
        clone_of(estimator).set_params(checkpoint=tmp_path).fit(X)
        for estimator in estimators
    ]
    assert [e.loss_curve_ for e in kept] == [e.loss_curve_ for e in whole]
    assert whole[0].loss_curve_ != whole[1].loss_curve_


def clone_of(estimator):
    """Copy a fitted estimator."""
    copy = clone(estimator)
    copy.__dict__.update(estimator.__dict__)
    return copy
