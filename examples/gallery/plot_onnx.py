"""
Export a pipeline to ONNX
=========================

A fitted pipeline needs Python, scikit-learn and torch. An ONNX graph needs none of
them: it runs in ONNX Runtime on a server, in a browser or on a phone. This example
exports a pipeline, and checks that the graph gives the same results.
"""

# %%
# A pipeline that recognises digits. Its middle step is a sparse code of 128 units.
import matplotlib.pyplot as plt
import numpy as np
from onnxruntime import InferenceSession
from skl2onnx import to_onnx as export_pipeline
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skautoenc import AutoencoderTransformer
from skautoenc.onnx import to_onnx

X, y = load_digits(return_X_y=True)
X = X.astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
pipeline = make_pipeline(
    MinMaxScaler(),
    AutoencoderTransformer(128, random_state=0),
    LogisticRegression(max_iter=2000),
).fit(X_train, y_train)
print(f"accuracy in Python: {pipeline.score(X_test, y_test):.3f}")

# %%
# `skl2onnx` exports the whole pipeline as one graph. The import of ``skautoenc.onnx``
# has told it how to convert the autoencoder. The second argument sets the type of the
# input: here, rows of float32. With ``zipmap=False``, probabilities are an array.
graph = export_pipeline(pipeline, X_train[:1], options={"zipmap": False})
content = graph.SerializeToString()
print(f"{len(content) / 1000:.0f} kB, {len(graph.graph.node)} nodes")

# %%
# ONNX Runtime runs the graph. Check the results on rows that the pipeline has not seen:
# they differ by rounding only, because the graph computes in float32.
session = InferenceSession(content)
labels, probabilities = session.run(None, {"X": X_test})
difference = np.abs(probabilities - pipeline.predict_proba(X_test)).max()
print(f"largest difference of a probability: {difference:.1e}")
print("all classes are the same:", bool((labels == pipeline.predict(X_test)).all()))

# %%
# `skautoenc.onnx.to_onnx` exports the autoencoder alone. ``part="autoencoder"`` gives a
# graph from rows to reconstructions, for example to detect rows that the pipeline does
# not know.
model = to_onnx(pipeline[1], part="autoencoder")
autoencoder = InferenceSession(model.SerializeToString())
rows = pipeline[0].transform(X_test[:8])
(reconstruction,) = autoencoder.run(["reconstruction"], {"X": rows})

figure, axes = plt.subplots(2, 8, figsize=(8, 2.2), layout="constrained")
for above, below, row, again in zip(*axes, rows, reconstruction, strict=True):
    above.imshow(row.reshape(8, 8), cmap="gray_r")
    below.imshow(again.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
for ax in axes.flat:
    ax.set_axis_off()
figure.suptitle("digits, and reconstructions by ONNX Runtime", fontsize=10)
plt.show()

# %%
# To use the graph elsewhere, write ``content`` to a file. :doc:`/demo` runs such a
# graph in your browser, on a digit that you draw. :doc:`/saving` says what can and what
# cannot be exported.
