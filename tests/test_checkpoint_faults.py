"""Checkpoints: identity of fits, waiting, damage and forks."""

import copy
import functools
import itertools
import json
import multiprocessing
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from test_checkpoint import Epochs, counted, killed, result, table
from torch import nn

import skautoenc
from skautoenc import (
    AutoencoderTransformer,
    PatchAutoencoderTransformer,
    TabularAutoencoderTransformer,
    clear_checkpoints,
    train_together,
)
from skautoenc._persistence import checkpoint as checkpoints
from skautoenc._persistence import locks
from skautoenc._persistence.files import pack
from skautoenc._persistence.identity import identify
from skautoenc._training import resources

try:
    import cloudpickle
except ImportError:
    # Older versions of joblib contain their own.
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
    """Run code in its own process and return its output."""
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


# Identity of code

# Each snippet makes a `builder` that differs in VALUE only.
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
        "def make():\n def build(n=VALUE): return build\n return build\n"
        "builder = make()"
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
    """Run user code, and return the builder that it makes."""
    names = {"__name__": name, "__package__": "", "__file__": file}
    exec(compile(source.replace("VALUE", value), file, "exec"), names)
    return names["builder"]


@pytest.mark.parametrize("kind", KINDS)
def test_code_is_identified_by_its_behaviour_not_its_position(kind):
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
    """Identify all of these in this process, and in another one."""
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
            # cloudpickle itself does not send it.
            continue
        with suppress(TypeError, pickle.PicklingError):
            pickled[kind] = cloudpickle.dumps(builder)
    # Locks and references are not sent to other processes.
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
    # Running the code changes it: specialised instructions, names stored by a class.
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
            "a = nn.Linear(2, 2)\nfrom copy import deepcopy as copied\n"
            "builder = partial(f, [a, copied(a)])",
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
def test_different_code_has_different_identities(one, other):
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


@pytest.mark.slow  # Imports torch in three processes.
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
        code += "from skautoenc._persistence.identity import identify\n"
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
    # Without a checkpoint, no identity is needed.
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
def test_networks_of_one_factory_have_separate_fits(quick, X, factory):
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


@pytest.mark.slow  # Two scripts, one of them with processes of its own.
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

    def _build_network(self, n_features, **sizes):
        return super()._build_network(n_features, **sizes)


def test_a_subclass_is_identified_by_its_code(quick, X, monkeypatch):
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


def test_a_warm_start_is_identified_by_the_first_fit(tmp_path):
    # The same bits in other units: only the mean differs.
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


# Other processes

HOLD = """
import fcntl, sys
file = open(sys.argv[1], "a+")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_elsewhere(path):
    """Let another process hold a lock; yield that process."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"held\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def home_of(estimator, X):
    """Return the folder of a fit that looks as if the fit had not begun."""
    estimator.fit(X)
    (home,) = estimator.checkpoint.iterdir()
    (home / "finished.safetensors").unlink()
    return home


class Slow(Epochs):
    def on_fit_task_end(self, estimator, context, **others):
        time.sleep(0.02)
        return super().on_fit_task_end(estimator, context, **others)


def fit_slowly(estimator, X):
    clone(estimator).set_callbacks(Slow()).fit(X)


def test_what_another_process_ends_is_read(quick, X):
    quick.set_params(max_iter=30, tol=0, n_iter_no_change=30)
    context = multiprocessing.get_context("forkserver")
    first = context.Process(target=fit_slowly, args=(quick, X))
    first.start()
    while not list(quick.checkpoint.glob("*/unfinished.safetensors")):
        time.sleep(0.01)
    fitted, n_epochs = counted(quick, X)
    first.join()
    assert (first.exitcode, n_epochs) == (0, 0)
    whole = clone(quick).set_params(checkpoint=None).fit(X)
    assert result(fitted, X) == result(whole, X)


def test_a_search_with_more_processes_than_folds_scores_all(quick, X):
    y = X[:, 0] > 1
    scores = []
    for folder, n_jobs in ((None, 1), (quick.checkpoint, 3)):
        pipeline = make_pipeline(
            clone(quick).set_params(checkpoint=folder, max_iter=30),
            LogisticRegression(),
        )
        grid = {"logisticregression__C": [0.01, 1.0, 100.0]}
        search = GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs, error_score="raise")
        scores.append(search.fit(X, y).cv_results_["mean_test_score"])
    assert np.array_equal(*scores)
    assert len(list(quick.checkpoint.iterdir())) == 3


def test_waiting_ends_by_an_interrupt(quick, X):
    home = home_of(quick, X)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    # The process that runs the tests may ignore interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with held_elsewhere(home / "lock"):
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                quick.fit(X)
        timer.join()
    finally:
        signal.signal(signal.SIGINT, before)
    # No lock is left.
    assert counted(quick, X)[1] == 9


def test_other_threads_fit_while_one_waits(quick, X):
    home = home_of(quick, X)
    other = clone(quick).set_params(max_iter=2)
    with ThreadPoolExecutor(2) as pool:
        with held_elsewhere(home / "lock") as process:
            waiting = [pool.submit(counted, quick, X) for _ in range(2)]
            time.sleep(0.2)
            assert counted(other, X)[1] == 2
            assert not any(fit.done() for fit in waiting)
            process.kill()
        fits = [fit.result()[0] for fit in waiting]
    assert result(fits[0], X) == result(fits[1], X)


def test_who_would_hold_up_others_does_not_wait(quick, X):
    home = home_of(quick, X)
    outer = AutoencoderTransformer(
        2,
        max_iter=2,
        random_state=0,
        checkpoint=quick.checkpoint,
        network=lambda n_features, n_components: (
            quick.fit(X) and Net(n_features, n_components)
        ),
    )
    whole = clone(quick).set_params(checkpoint=None).fit(X)
    with held_elsewhere(home / "lock"):
        outer.fit(X)
    assert result(quick, X) == result(whole, X)
    assert {path.name for path in home.iterdir()} == {"lock", "fit.json"}


def test_joint_fits_do_not_wait(quick, X):
    # The rows of the first of two folds.
    home = home_of(quick, X[300:])
    scores = []
    for folder in (None, quick.checkpoint):
        one = clone(quick).set_params(checkpoint=folder)
        search = GridSearchCV(
            one, {"max_iter": [9, 3]}, cv=2, error_score="raise", refit=False
        )
        with held_elsewhere(home / "lock"), train_together():
            scores.append(search.fit(X).cv_results_["mean_test_score"])
    np.testing.assert_allclose(*scores, rtol=1e-4)
    assert {path.name for path in home.iterdir()} == {"lock", "fit.json"}
    assert len(list(quick.checkpoint.iterdir())) == 4


def test_a_look_at_a_lock_keeps_nobody_out(quick, X, monkeypatch):
    tries = []
    lock = locks._lock

    def seldom(descriptor, path):
        tries.append(path)
        if len(tries) < 4:
            raise locks._in_use(path)
        lock(descriptor, path)

    monkeypatch.setattr(locks, "_lock", seldom)
    token = checkpoints.holds_up_others.set(True)
    quick.fit(X)
    checkpoints.holds_up_others.reset(token)
    assert len(list(quick.checkpoint.glob("*/finished.safetensors"))) == 1


def test_the_own_lock_is_not_free(tmp_path):
    path = tmp_path / "lock"
    with locks.locked(path):
        assert not locks.is_free(path)
        # Testing the lock has not released it, as another process would find out.
        code = HOLD.replace("LOCK_EX", "LOCK_EX | fcntl.LOCK_NB")
        found = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, check=False
        )
        assert b"BlockingIOError" in found.stderr
        with pytest.raises(locks.InUseError), locks.locked(path, alone=True):
            pass
    assert locks.is_free(path)
    with locks.locked(path, alone=True):
        assert not locks.is_free(path)
        with pytest.raises(locks.InUseError), locks.locked(path):
            pass
    with held_elsewhere(path):
        assert not locks.is_free(path)
        with pytest.raises(locks.InUseError), locks.locked(path, patience=0.05):
            pass


def test_a_lock_that_was_removed_is_another_one(tmp_path, monkeypatch):
    path = tmp_path / "home" / "lock"
    lock, removed = locks._lock, []

    def late(descriptor, path):
        if not removed:
            # The last holder removes the file between opening and locking.
            removed.append(path)
            path.unlink()
            path.parent.rmdir()
        lock(descriptor, path)

    monkeypatch.setattr(locks, "_lock", late)
    with locks.locked(path):
        descriptor, _ = locks._held[os.getpid(), path.resolve()]
        assert os.path.samestat(os.fstat(descriptor), path.stat())
    assert removed


def test_a_fit_of_another_thread_was_not_left(quick, X):
    seen = []

    class Meanwhile(Epochs):
        def on_fit_task_end(self, estimator, context, **others):
            super().on_fit_task_end(estimator, context, **others)
            if self.n_seen == 3:
                # Warnings are errors here.
                seen.append(counted(clone(quick).set_params(max_iter=2), X)[1])

    clone(quick).set_callbacks(Meanwhile()).fit(X)
    assert seen == [2]


# Processes that are forked during a fit


def module_locks():
    """Return all locks that modules of the package have."""
    kinds = type(threading.Lock()), type(threading.RLock())
    return {
        f"{module}.{name}": value
        for module in sorted(sys.modules)
        if module.partition(".")[0] == "skautoenc"
        for name, value in vars(sys.modules[module]).items()
        if isinstance(value, kinds)
    }


def in_a_fork(function):
    """Run a function in a fork of this process, and return how it ends."""
    with warnings.catch_warnings():
        # Newer versions of Python warn of forks in processes with threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            os._exit(function() or 0)
        finally:
            os._exit(99)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "it hangs"


@needs_fork
def test_locks_are_free_in_a_fork():
    held = module_locks()
    assert len(held) >= 4
    taken, done = threading.Event(), threading.Event()

    def hold():
        with ExitStack() as stack:
            for lock in held.values():
                stack.enter_context(lock)
            taken.set()
            done.wait(60)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(hold)
        taken.wait()
        ends = in_a_fork(
            lambda: sum(not x.acquire(blocking=False) for x in module_locks().values())
        )
        done.set()
    assert ends == 0


@needs_fork
def test_a_process_forked_beside_a_fit_fits(quick, X, tmp_path):
    quick.set_params(network=Net, max_iter=1000, tol=0, n_iter_no_change=1000)
    ends = threading.Event()

    class Until(Epochs):
        def on_fit_task_end(self, estimator, context, **others):
            return ends.is_set()

    def fit_in_the_fork():
        inner = clone(quick).set_params(max_iter=2, checkpoint=tmp_path / "inner")
        inner.fit(X)
        return resources._running

    beside = clone(quick).set_callbacks(Until())
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(beside.fit, X)
        two = pool.submit(
            clone(beside).set_params(random_state=1).set_callbacks(Until()).fit, X
        )
        while len(list(quick.checkpoint.glob("*/unfinished.safetensors"))) < 2:
            time.sleep(0.01)
        found = [in_a_fork(fit_in_the_fork) for _ in range(5)]
        ends.set()
        one.result(), two.result()
    assert found == [0] * 5


@needs_fork
def test_a_fork_of_a_builder_builds(X):
    found = []

    def builder(n_features, n_components):
        one = AutoencoderTransformer(2, network=Net, max_iter=1, random_state=0)
        found.append(in_a_fork(lambda: one.fit(X) is not one))
        return Net(n_features, n_components)

    AutoencoderTransformer(2, network=builder, max_iter=1, random_state=0).fit(X)
    assert found == [0, 0]


# Content of the folder


def a_directory(path):
    path.unlink()
    path.mkdir()


def a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def a_link_to_nothing(path):
    path.unlink()
    path.symlink_to("nothing")


DAMAGES = {
    "empty": b"",
    "cut short": b'{"class": "Auto',
    "not text": b"\xff\xfe\x00",
    "a list": b"[]",
    "a number": b"3",
    "null": b"null",
    "deep": b"[" * 100_000,
    "long": b'{"class": "' + b"x" * 2_000_000 + b'"}',
    "missing": os.unlink,
    "a directory": a_directory,
    "a pipe": a_pipe,
    "a link to nothing": a_link_to_nothing,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("state", ["unfinished", "finished"])
def test_descriptions_of_other_fits_cannot_stop_a_fit(quick, X, damage, state):
    killed(quick, X) if state == "unfinished" else quick.fit(X)
    (home,) = quick.checkpoint.iterdir()
    change = DAMAGES[damage]
    if callable(change):
        change(home / "fit.json")
    else:
        (home / "fit.json").write_bytes(change)
    assert counted(clone(quick).set_params(random_state=1), X)[1] == 9
    # Its own files are written again, where a file is possible.
    if damage != "a directory":
        assert counted(quick, X)[1] < 9
        assert json.loads((home / "fit.json").read_text())["max_iter"] == "9"


def test_descriptions_of_strange_content_are_shortened(quick, X):
    killed(quick, X)
    (home,) = quick.checkpoint.iterdir()
    notes = json.loads((home / "fit.json").read_text())
    notes |= {"max_iter": ["x" * 50_000], "strange": {"a": None}}
    (home / "fit.json").write_text(json.dumps(notes))
    with pytest.warns(UserWarning, match="strange was") as caught:
        assert counted(clone(quick).set_params(random_state=1), X)[1] == 9
    assert len(str(caught[0].message)) < 1000


@pytest.mark.parametrize("warm_start", [False, True])
def test_warnings_of_leftovers_point_at_the_users_line(quick, X, warm_start):
    killed(quick, X)
    quick.set_params(warm_start=warm_start, tol=0.5)
    with pytest.warns(UserWarning, match="left unfinished") as caught:
        quick.fit(X)
    assert caught[0].filename == __file__


def test_a_thousand_leftovers_are_one_warning(quick, X):
    killed(quick, X)
    (home,) = quick.checkpoint.iterdir()
    notes = json.loads((home / "fit.json").read_text())
    for number in range(1000):
        other = home.with_name(f"{home.name[:-16]}{number:016x}")
        other.mkdir()
        (other / "unfinished.safetensors").touch()
        text = json.dumps({**notes, "alpha": str(number + 1), "tol": "5"})
        (other / "fit.json").write_text(text)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clone(quick).set_params(tol=0.5).fit(X)
    (warning,) = caught
    # The most similar one.
    assert re.search(
        rf"{home.name} was left .*: tol was 0.0001 and is now 0.5\. This fit starts "
        r"anew\. There are 1000 more; skautoenc.clear_checkpoints removes them\.",
        str(warning.message),
    )


def places(state, so_far=()):
    """List the positions of all values in a state."""
    found = [so_far] if so_far else []
    if isinstance(state, dict):
        for name in state:
            found += places(state[name], (*so_far, name))
    elif isinstance(state, list) and state and not isinstance(state[0], float):
        for number in range(len(state)):
            found += places(state[number], (*so_far, number))
    return found


def changed(state, place, change):
    """Return a copy of a state in which one value is changed."""
    state = copy.deepcopy(state)
    parent = functools.reduce(lambda value, name: value[name], place[:-1], state)
    change(parent, place[-1])
    return state


CHANGES = {
    "removed": lambda parent, name: parent.pop(name),
    "added": lambda parent, name: (
        parent.update(strange=1) if isinstance(parent, dict) else parent.append(1)
    ),
    "a string": lambda parent, name: parent.__setitem__(name, "strange"),
    "another dictionary": lambda parent, name: parent.__setitem__(name, {"strange": 1}),
    "an array": lambda parent, name: parent.__setitem__(name, np.zeros((2, 1), "f4")),
    "a list": lambda parent, name: parent.__setitem__(name, ["strange"]),
}
REFUSALS = "Delete|Set device='strange', or delete"


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_foreign_content_is_refused(quick, X, change, early_stopping):
    quick.set_params(early_stopping=early_stopping)
    killed(quick, X)
    (path,) = quick.checkpoint.glob("*/unfinished.safetensors")
    state = checkpoints._read(path)
    for place in places(state):
        path.write_bytes(checkpoints._to_bytes(changed(state, place, CHANGES[change])))
        with pytest.raises(ValueError, match=REFUSALS):
            quick.fit(X)
    path.write_bytes(checkpoints._to_bytes(state))
    assert counted(quick, X)[1] < 9


@pytest.mark.parametrize(
    "document",
    [{}, {"state": 1}, {"state": None}, {"state": {"dict": 3}}, {"estimator": {}}],
)
def test_a_file_of_another_kind_is_refused(quick, X, document):
    killed(quick, X)
    (path,) = quick.checkpoint.glob("*/unfinished.safetensors")
    path.write_bytes(pack(document, {}))
    with pytest.raises(ValueError, match=r"holds something else than .*Delete it to"):
        quick.fit(X)


def test_an_estimator_in_the_place_of_a_checkpoint_is_refused(quick, X):
    killed(quick, X)
    (path,) = quick.checkpoint.glob("*/unfinished.safetensors")
    quick.set_params(checkpoint=None).fit(X).save(path)
    with pytest.raises(ValueError, match="holds something else than a state"):
        quick.set_params(checkpoint=path.parent.parent).fit(X)


def test_a_generator_in_an_impossible_state_is_refused(quick, X):
    killed(quick, X)
    (path,) = quick.checkpoint.glob("*/unfinished.safetensors")
    state = checkpoints._read(path)
    state["run"]["generators"][0][:] = 255
    path.write_bytes(checkpoints._to_bytes(state))
    with pytest.raises(ValueError, match="holds something else than a state"):
        quick.fit(X)


def test_parts_of_dead_processes_are_removed(quick, X):
    killed(quick, X)
    (home,) = quick.checkpoint.iterdir()
    for name in (".unfinished.safetensors.0123abcd.part", ".fit.json.4567cdef.part"):
        (home / name).write_bytes(b"cut sho")
    quick.fit(X)
    names = {path.name for path in home.iterdir()}
    # Nothing unfinished is left next to a finished fit.
    assert names == {"lock", "fit.json", "finished.safetensors"}


def test_most_of_the_time_is_left_to_training(quick, X, monkeypatch):
    written, write = [], checkpoints.write

    def slowly(path, data):
        written.append(path.name)
        time.sleep(0.2)
        write(path, data)

    monkeypatch.setattr(checkpoints, "write", slowly)
    quick.set_params(max_iter=40, tol=0, n_iter_no_change=40)
    began = time.monotonic()
    assert counted(quick, X)[1] == 40
    took = time.monotonic() - began
    assert written[:2] == ["fit.json", "unfinished.safetensors"]
    assert written[-1] == "finished.safetensors"
    # Between two writes is twenty times the duration of the last one, 4 seconds.
    assert len(written) <= 3 + took / 4


def test_another_version_of_torch_is_another_fit(quick, X, monkeypatch):
    assert counted(quick, X)[1] == 9
    monkeypatch.setattr(torch, "__version__", "99.0")
    assert counted(quick, X)[1] == 9
    monkeypatch.undo()
    assert counted(quick, X)[1] == 0
    monkeypatch.setattr("skautoenc._persistence.fingerprint.__version__", "99.0")
    assert counted(quick, X)[1] == 9


# Removal of checkpoints


@pytest.fixture
def folder(quick, X):
    """Return a folder with a finished fit and an unfinished one."""
    quick.fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        killed(clone(quick).set_params(random_state=1), X)
    return quick.checkpoint


@pytest.mark.parametrize(
    ("which", "n_left"), [("finished", 1), ("unfinished", 1), ("all", 0)]
)
def test_checkpoints_are_cleared(folder, which, n_left):
    assert clear_checkpoints(folder, which=which, age_limit=timedelta(hours=1)) == []
    removed = clear_checkpoints(str(folder), which=which)
    left = list(folder.iterdir())
    assert (len(removed), len(left)) == (2 - n_left, n_left)
    assert not any(path.exists() for path in removed)
    for home in left:
        names = {path.stem for path in home.iterdir()}
        assert which not in names
    assert clear_checkpoints(folder, which=which) == []


def test_old_checkpoints_are_cleared(folder):
    old, new = sorted(folder.iterdir())
    for path in old.iterdir():
        os.utime(path, (1e9, 1e9))
    assert clear_checkpoints(folder, age_limit=timedelta(days=30)) == [old]
    assert list(folder.iterdir()) == [new]


def test_what_is_in_use_stays(folder, quick, X):
    first, second = sorted(folder.iterdir())
    with held_elsewhere(first / "lock"), locks.locked(second / "lock"):
        assert clear_checkpoints(folder) == []
    found = []

    class Clearing(Epochs):
        def on_fit_task_end(self, estimator, context, **others):
            super().on_fit_task_end(estimator, context, **others)
            found.extend(clear_checkpoints(folder))

    clone(quick).set_params(random_state=1).set_callbacks(Clearing()).fit(X)
    assert len(found) == 1
    assert len(list(folder.glob("*/finished.safetensors"))) == 1


def test_nothing_else_is_cleared(folder, tmp_path):
    for home in list(folder.iterdir()):
        (home / "notes.txt").touch()
    other = tmp_path / "other"
    other.mkdir()
    (other / "lock").touch()
    (folder / f"Linked-{0:016x}").symlink_to(other)
    (folder / "finished.safetensors").touch()
    (folder / f"Empty-{0:016x}").mkdir()
    (folder / "lock").mkdir()
    assert clear_checkpoints(folder) == []
    assert (other / "lock").exists()
    assert len(list(folder.iterdir())) == 6


def test_files_that_cannot_be_cleared_raise_an_error(folder, tmp_path):
    with pytest.raises(ValueError, match="which must be 'all', 'finished' or 'unf"):
        clear_checkpoints(folder, which="old")
    with pytest.raises(FileNotFoundError):
        clear_checkpoints(tmp_path / "nothing")


# Files


def test_a_file_does_not_choose_where_a_fit_writes(quick, X, tmp_path):
    quick.fit(X)
    path = tmp_path / "autoencoder.safetensors"
    quick.save(path)
    shutil.rmtree(quick.checkpoint)
    again = skautoenc.load(path)
    assert again.checkpoint is None
    again.fit(X)
    patches = PatchAutoencoderTransformer(clone(quick), random_state=0)
    patches.save(path)
    assert skautoenc.load(path).autoencoder.checkpoint is None
    assert not quick.checkpoint.exists()


def test_a_folder_of_the_users_home(quick, X, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    quick.set_params(checkpoint="~/here").fit(X)
    assert len(clear_checkpoints("~/here")) == 1
    assert (tmp_path / "here").is_dir()
