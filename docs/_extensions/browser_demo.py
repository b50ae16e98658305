"""What the demo page needs: a fitted pipeline as ONNX, and a runtime for browsers.

The runtime is onnxruntime-web of the npm registry, 14 MB that are fetched once into
``build`` and are not part of the repository. Where npm is missing, or the registry
cannot be reached, the page says that the demo is left out, and the build goes on.
"""

import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from sphinx.application import Sphinx
from sphinx.util import logging

PACKAGE = "onnxruntime-web@1.30.0"
RUNTIME = (
    "ort.wasm.min.js",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
)
N_SAMPLES = 10
_SECONDS = 120
# By default, npm waits more than a minute where its registry cannot be reached.
_RETRIES = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000")

logger = logging.getLogger(__name__)


def prepare(app: Sphinx, config: Any) -> None:
    """Write the files of the demo into a folder whose content goes to ``_static``."""
    folder = Path(app.confdir).parent / "build" / "demo" / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    fault = _fetch_runtime(folder) or _export(folder)
    (folder / "state.json").write_text(json.dumps({"fault": fault}))
    if fault:
        logger.info("The demo is left out: %s.", fault)
    config.html_static_path.append(str(folder.parent))


def _fetch_runtime(folder: Path) -> str | None:
    """Fetch the runtime unless it is there; return what prevents it."""
    if all((folder / name).exists() for name in RUNTIME):
        return None
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed where the site was built"
    archives = folder.parent / "archives"
    shutil.rmtree(archives, ignore_errors=True)
    archives.mkdir()
    try:
        subprocess.run(
            [npm, "pack", PACKAGE, "--silent", *_RETRIES],
            cwd=archives,
            check=True,
            capture_output=True,
            timeout=_SECONDS,
        )
        (path,) = archives.glob("*.tgz")
        with tarfile.open(path) as archive:
            for name in RUNTIME:
                source = archive.extractfile(f"package/dist/{name}")
                (folder / name).write_bytes(source.read())
    except (subprocess.SubprocessError, OSError, ValueError, KeyError) as error:
        return f"{PACKAGE} could not be fetched ({type(error).__name__})"
    finally:
        shutil.rmtree(archives, ignore_errors=True)
    return None


def _export(folder: Path) -> str | None:
    """Fit the pipeline, and write its graphs and ten digits with their classes."""
    try:
        from skl2onnx import to_onnx as export_pipeline
    except ModuleNotFoundError:
        return "skl2onnx is not installed where the site was built"
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline

    from skautoenc import AutoencoderTransformer
    from skautoenc.onnx import to_onnx

    X, y = load_digits(return_X_y=True)
    train, test, y_train, _ = train_test_split(
        X.astype(np.float32), y, random_state=0, stratify=y
    )
    pipeline = make_pipeline(
        AutoencoderTransformer(128, random_state=0), LogisticRegression(max_iter=2000)
    ).fit(train, y_train)
    graph = export_pipeline(
        pipeline, train[:1], target_opset=17, options={"zipmap": False}
    )
    (folder / "pipeline.onnx").write_bytes(graph.SerializeToString())
    for part in ("encoder", "autoencoder"):
        model = to_onnx(pipeline[0], part)
        (folder / f"{part}.onnx").write_bytes(model.SerializeToString())
    samples = {
        "rows": test[:N_SAMPLES].tolist(),
        "classes": pipeline.predict(test[:N_SAMPLES]).tolist(),
        "probabilities": pipeline.predict_proba(test[:N_SAMPLES]).tolist(),
    }
    (folder / "samples.json").write_text(json.dumps(samples))
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Prepare the demo before static files are collected."""
    app.connect("config-inited", prepare)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
