"""The built documentation, as a reader meets it in a browser.

CONTRIBUTING.md has the commands that build it and run these tests.
"""

import functools
import html.parser
import http.server
import math
import os
import shutil
import threading
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

import pytest

from skautoenc._about import class_page
from skautoenc._persistence.saving import public_estimators

pytestmark = pytest.mark.site

ROOT = Path(
    os.environ.get("SKAUTOENC_SITE", Path(__file__).parent.parent / "build" / "html")
)
# Pages of their own kinds: a page of each is looked at closely.
KINDS = (
    "index.html",
    "getting_started.html",
    "guide.html",
    "benchmarks.html",
    "demo.html",
    "generated/skautoenc.AutoencoderTransformer.html",
    "auto_examples/index.html",
    "auto_examples/plot_filters.html",
)
# The browser asks for nothing in the background, where there may be no network.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


class _Page(html.parser.HTMLParser):
    """Links of a page, and what they may lead to."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors |= {attrs[key] for key in ("id", "name") if attrs.get(key)}
        self.links += [attrs[key] for key in ("href", "src") if attrs.get(key)]


@pytest.fixture(scope="module")
def pages():
    """Every page by its path."""
    found = {
        path.relative_to(ROOT).as_posix(): _Page(path)
        for path in sorted(ROOT.rglob("*.html"))
        if "_static" not in path.parts
    }
    if not found:
        pytest.fail(f"No page in {ROOT}. CONTRIBUTING.md says how to build them.")
    return found


@pytest.fixture(scope="module")
def address(pages):
    """Address of the site on this machine."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Handler, directory=ROOT)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.fail("No Chromium on this machine. Debian's package is chromium.")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser, address):
    """Open a page, and fail at the end if it complained."""
    complaints, contexts = [], []

    def complain(about, text):
        complaints.append(f"{about}: {text}")

    def open_page(path, width=1280, **options):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console",
            lambda line: complain(path, line.text) if line.type == "error" else None,
        )
        page.on("pageerror", lambda error: complain(path, error))
        # The next page interrupts what the last one still loads.
        page.on(
            "requestfailed",
            lambda request: (
                "ERR_ABORTED" in request.failure or complain(path, request.url)
            ),
        )
        page.on(
            "response",
            lambda got: complain(path, got.url) if got.status >= 400 else None,
        )
        page.goto(address + path, wait_until="load")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


def test_every_internal_link_resolves(pages):
    broken = []
    for name, page in pages.items():
        for link in page.links:
            if urlparse(link).scheme or link.startswith("//"):
                continue
            path, fragment = urldefrag(link)
            path = unquote(urlparse(path).path)
            target = (ROOT / name).parent / path if path else ROOT / name
            if target.is_dir():
                target /= "index.html"
            key = os.path.relpath(target, ROOT)
            missing = not target.exists()
            if not missing and fragment and key in pages:
                missing = unquote(fragment) not in pages[key].anchors
            if missing:
                broken.append(f"{name}: {link}")
    assert not broken


def test_nothing_is_loaded_from_elsewhere(pages):
    """Pages are complete without a network, and tell nobody who reads them."""
    for path in ROOT.rglob("*.html"):
        for tag in ("<script src=", '<link rel="stylesheet"'):
            for part in path.read_text().split(tag)[1:]:
                assert "//" not in part.partition(">")[0], path


@pytest.mark.parametrize("kind", public_estimators(), ids=lambda kind: kind.__name__)
def test_the_notebook_representation_leads_to_a_page(kind, pages):
    names = {"estimator_module": "skautoenc", "estimator_name": kind.__name__}
    page = pages[class_page("/")[1:].format(**names)]
    assert f"skautoenc.{kind.__name__}" in page.anchors


@pytest.mark.parametrize("name", ["AutoencoderTransformer", "train_together"])
def test_search_finds_a_name(name, open_page):
    page = open_page(f"search.html?q={name}")
    page.wait_for_selector("#search-results li a")
    found = page.eval_on_selector_all("#search-results li a", "a => a.map(x => x.href)")
    assert any(f"generated/skautoenc.{name}.html" in link for link in found[:3])


@pytest.mark.parametrize("path", KINDS)
def test_code_has_copy_buttons(path, open_page):
    page = open_page(path)
    blocks = page.locator("div.highlight pre").count()
    assert page.locator("button.copybtn").count() == blocks


def test_copied_code_has_no_prompts(open_page):
    page = open_page(
        "getting_started.html", permissions=["clipboard-read", "clipboard-write"]
    )
    page.locator("div.highlight:has-text('load_digits')").first.hover()
    page.locator("button.copybtn").first.click()
    page.wait_for_selector("button.copybtn.success")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("from sklearn.datasets import load_digits")
    compile(copied, "copied", "exec")


def test_every_page_fits_a_phone_without_complaint(pages, address, open_page):
    """No page scrolls sideways, and none puts an error on the console."""
    wide = []
    page = open_page("index.html", width=390)
    for path in pages:
        page.goto(address + path)
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(path)
    assert not wide


@pytest.fixture
def demo(open_page):
    page = open_page("demo.html")
    fault = page.evaluate("skautoencDemo.ready.then(x => x.fault || null)")
    if fault:
        assert fault in page.inner_text("#demo-status")
        pytest.skip(f"the demo is left out: {fault}")
    return page


def test_demo_gives_the_classes_of_python(demo):
    results = demo.evaluate(
        """async () => {
          const { samples } = await skautoencDemo.ready;
          const found = [];
          for (const row of samples.rows) found.push(await skautoencDemo.apply(row));
          return { samples, found };
        }"""
    )
    samples, found = results["samples"], results["found"]
    assert len(found) == 10
    assert [each["label"] for each in found] == samples["classes"]
    for each, expected in zip(found, samples["probabilities"], strict=True):
        assert each["probabilities"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("is_installed", [False, True])
def test_a_build_goes_on_where_the_runtime_cannot_be_had(
    is_installed, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "docs" / "_extensions")
    import browser_demo

    if not is_installed:
        monkeypatch.setenv("PATH", str(tmp_path))
    elif shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    # Nothing listens on this port.
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    (tmp_path / "demo").mkdir()
    fault = browser_demo._fetch_runtime(tmp_path / "demo")
    assert ("could not be fetched" if is_installed else "is not installed") in fault
    assert not list((tmp_path / "demo").iterdir())


def test_demo_reads_a_drawing(demo):
    """A ring is a zero."""
    box = demo.locator("#demo-drawing").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    steps = [2 * math.pi * n / 24 for n in range(26)]
    points = [
        (middle[0] + 60 * math.sin(a), middle[1] - 90 * math.cos(a)) for a in steps
    ]
    demo.mouse.move(*points[0])
    demo.mouse.down()
    for point in points:
        demo.mouse.move(*point)
    demo.mouse.up()
    demo.wait_for_function(
        "document.getElementById('demo-class').textContent.startsWith('0 ')"
    )


CONTRAST = """
() => {
  const light = c => {
    const [r, g, b] = c.match(/[\\d.]+/g).map(x => x / 255).map(
      x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = element => {
    const color = getComputedStyle(element).backgroundColor;
    const clear = color === 'transparent' || color.endsWith(', 0)');
    return clear && element.parentElement ? paper(element.parentElement) : color;
  };
  const low = [];
  for (const element of document.querySelectorAll(
      'article p, article li, article td, article a, article h2, article pre span')) {
    if (!element.innerText || !element.innerText.trim()) continue;
    const pair = [light(getComputedStyle(element).color), light(paper(element))].sort();
    const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (contrast < 4.5) low.push(element.innerText.slice(0, 40) + ' ' + contrast);
  }
  return [light(paper(document.body)), low];
}
"""


@pytest.mark.parametrize("path", KINDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable(path, scheme, open_page):
    page = open_page(path, color_scheme=scheme)
    paper, low = page.evaluate(CONTRAST)
    assert paper < 0.1 if scheme == "dark" else paper > 0.9
    assert not low
