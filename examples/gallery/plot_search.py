"""
Search many parameters at once
==============================

A search fits a network for each candidate and each fold. Small networks use little of a
processor: most of the time of a step is overhead. Within `train_together`, a search
trains many candidates in joint steps. The code and the results of the search stay the
same.
"""

# %%
# The digits are to be compressed to eight numbers. The search has 18 candidates: six
# learning rates, and three rates of noise. With three folds, this makes 54 fits. A
# search without labels maximises ``score``, the negative reconstruction error.
import time

import matplotlib.pyplot as plt
import numpy as np
from joblib import parallel_config
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from skautoenc import AutoencoderTransformer, train_together

X = load_digits().data / 16
autoencoder = AutoencoderTransformer(
    8, hidden_layer_sizes=(32,), batch_size=32, max_iter=10, random_state=0
)
grid = {
    "learning_rate_init": [0.002, 0.005, 0.01, 0.02, 0.05, 0.1],
    "corruption_rate": [0.0, 0.1, 0.3],
}

# %%
# Run the search once without and once within `train_together`, in one process. The
# times depend on the machine, but the scores are the same.
seconds, scores = {}, {}
for name, is_joint in {"separate fits": False, "joint fits": True}.items():
    started = time.process_time()
    with train_together() if is_joint else parallel_config(n_jobs=1):
        search = GridSearchCV(autoencoder, grid, cv=3, refit=False).fit(X)
    seconds[name] = time.process_time() - started
    scores[name] = search.cv_results_["mean_test_score"]
    print(f"{name}: {seconds[name]:.1f} CPU seconds")
difference = np.abs(scores["joint fits"] / scores["separate fits"] - 1).max()
print(f"largest relative difference of a score: {difference:.1e}")

# %%
# The picture shows all candidates. The best learning rate is 0.02, and noise does not
# help this narrow code.
figure, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
errors = -scores["joint fits"].reshape(len(grid["corruption_rate"]), -1)
for rate, line in zip(grid["corruption_rate"], errors, strict=True):
    ax.semilogx(grid["learning_rate_init"], line, "o-", label=f"corruption_rate={rate}")
ax.set_xlabel("learning_rate_init")
ax.set_ylabel("error of held-out digits")
ax.legend()
plt.show()

# %%
# The search above runs in one process. On several cores, set ``n_jobs`` of the search:
# each process then trains a share of the fits jointly. The workers of a Dask or Ray
# cluster do the same if you set the backend of joblib, for example with
# ``parallel_config("dask")``. See :doc:`/scale`.
