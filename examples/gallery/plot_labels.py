"""
Learn from few labels
=====================

`SemiSupervisedAutoencoder` learns features from all rows, and from the labels of some
of them. With thirty labels, a linear classifier recognises most of the test digits.
"""

# %%
# Three digits of each class have a label. -1 marks all others.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from skautoenc import AutoencoderTransformer, SemiSupervisedAutoencoder

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
known = np.concatenate([np.flatnonzero(y_train == k)[:3] for k in range(10)])
labels = np.full(len(X_train), -1)
labels[known] = y_train[known]
f"{len(known)} of {len(labels)} digits have a label"

# %%
# A linear classifier gets the thirty digits: as pixels, as features that were learnt
# without labels, and as the code that was learnt with them.
model = SemiSupervisedAutoencoder(random_state=0).fit(X_train, labels)
features = {
    "pixels": None,
    "without labels": AutoencoderTransformer(random_state=0).fit(X_train),
    "with labels": model,
}
for name, encoder in features.items():
    codes = [X_train[known], X_test]
    if encoder is not None:
        codes = [encoder.transform(rows) for rows in codes]
    linear = LogisticRegression(max_iter=1000).fit(codes[0], y_train[known])
    print(f"{name}: {linear.score(codes[1], y_test):.3f}")

# %%
# In the code, digits of one class lie together. These are test digits, along the two
# leading principal axes of the components that tell the classes apart. Each class has a
# colour. The crosses are the thirty digits that have a label.
axes = PCA(2).fit(model.transform(X_train)[:, -model.n_label_components_ :])
points, crosses = (
    axes.transform(model.transform(rows)[:, -model.n_label_components_ :])
    for rows in (X_test, X_train[known])
)
figure, ax = plt.subplots(figsize=(5, 4.2), layout="constrained")
ax.scatter(*points.T, c=y_test, cmap="tab10", s=8)
ax.scatter(*crosses.T, c="black", marker="x", s=30)
ax.set_xticks([])
ax.set_yticks([])
plt.show()

# %%
# The code still reconstructs the digits. The number is the share of the variance of
# test digits that it explains.
error = np.square(model.inverse_transform(model.transform(X_test)) - X_test).mean()
print(f"{1 - error / X_test.var(axis=0).mean():.2f}")
