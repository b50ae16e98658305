"""The notebook representation of estimators leads to the reference, and explains."""

import re
from pathlib import Path

import pytest
from sklearn.pipeline import make_pipeline

import skautoenc
import skautoenc.datasets
import skautoenc.inspection
from skautoenc._about import DOCS_URL, class_page
from skautoenc._estimators.parameters import Parameters
from skautoenc._persistence.saving import public_estimators

ESTIMATORS = public_estimators()


ADDRESS = "https://docs.example/"


@pytest.fixture
def published(monkeypatch):
    """The documentation has an address."""
    monkeypatch.setattr(Parameters, "_doc_link_template", class_page(ADDRESS))


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("kind", ESTIMATORS, ids=lambda kind: kind.__name__)
def test_the_representation_links_to_the_page_of_the_class(kind):
    page = f"{ADDRESS}generated/skautoenc.{kind.__name__}.html"
    assert kind()._get_doc_link() == page
    assert f'href="{page}"' in kind()._repr_html_()
    assert f'href="{page}"' in make_pipeline(kind())._repr_html_()


@pytest.mark.skipif(bool(DOCS_URL), reason="the documentation has an address")
@pytest.mark.parametrize("kind", ESTIMATORS, ids=lambda kind: kind.__name__)
def test_without_an_address_the_representation_links_nowhere(kind):
    assert kind()._get_doc_link() == ""
    links = re.findall(r'href="([^"]*)"', kind()._repr_html_())
    assert [link for link in links if not link.startswith("#")] == []


@pytest.mark.parametrize("address", ["", ADDRESS])
@pytest.mark.parametrize("kind", ESTIMATORS, ids=lambda kind: kind.__name__)
def test_the_representation_explains_every_parameter(kind, address, monkeypatch):
    monkeypatch.setattr(Parameters, "_doc_link_template", class_page(address))
    text = kind()._repr_html_()
    explained = re.findall(r'"param-doc-description"[^>]*>\s*(\w+):', text)
    assert set(explained) >= set(kind().get_params(deep=False))


def test_a_class_of_the_users_own_links_nowhere():
    class Own(ESTIMATORS[0]):
        __module__ = "elsewhere"

    assert Own()._get_doc_link() == ""


def test_the_reference_lists_every_public_name():
    text = (Path(__file__).parent.parent / "docs" / "reference.rst").read_text()
    for module in (skautoenc, skautoenc.datasets, skautoenc.inspection):
        section = text.partition(f".. currentmodule:: {module.__name__}\n")[2]
        missing = [name for name in module.__all__ if f"   {name}\n" not in section]
        assert missing in ([], ["TRUSTED_TYPES"])


def test_every_page_is_in_the_navigation():
    docs = Path(__file__).parent.parent / "docs"
    pages = {path.stem for path in docs.glob("*.md")} - {"index"}
    listed = set()
    for page in ("index", "user_guide", "about"):
        tree = (docs / f"{page}.md").read_text().partition("```{toctree}")[2]
        listed |= set(tree.partition("```\n")[0].split())
    assert not pages - listed
