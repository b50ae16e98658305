"""
A network of your own
=====================

If you know how your data arise, you can build this knowledge into the network. Pass a
class of your own to the estimator. Scaling, training, early stopping and searches work
as with the built-in network. Saved files hold only the weights: pass the class to
`skautoenc.load` again.
"""

# %%
# In this example, 48 points lie on a circle. Each row is a bump of random width at a
# random position.
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.model_selection import GridSearchCV

from skautoenc import AutoencoderTransformer

rng = np.random.default_rng(0)
angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
position, width = rng.uniform(0, 2 * np.pi, (2000, 1)), rng.uniform(2, 8, (2000, 1))
X = np.exp(width * (np.cos(angle - position) - 1))


# %%
# The class is called with the numbers of columns and components. It needs two methods,
# `encode` and `decode`. Here, `encode` is an ordinary network. `decode` draws the bump
# that the code describes.
class Bumps(torch.nn.Module):
    def __init__(self, n_features, n_components, width=64):
        super().__init__()
        self.encode = torch.nn.Sequential(
            torch.nn.Linear(n_features, width),
            torch.nn.Tanh(),
            torch.nn.Linear(width, n_components),
        )
        angle = torch.arange(n_features) * 2 * torch.pi / n_features
        self.register_buffer("circle", torch.stack([angle.cos(), angle.sin()]))
        self.height = torch.nn.Parameter(torch.ones(1))
        self.offset = torch.nn.Parameter(torch.zeros(n_features))

    def decode(self, code):
        direction = torch.nn.functional.normalize(code[:, :2])
        narrowness = torch.nn.functional.softplus(code[:, 2:])
        bump = torch.exp(narrowness * (direction @ self.circle - 1))
        return self.height * bump + self.offset


# %%
# Both networks have a code of three numbers. A position on a circle needs two of them,
# and the width of the bump needs one.
own = AutoencoderTransformer(
    3, network=Bumps, max_iter=150, learning_rate_init=0.02, random_state=0
)
built_in = AutoencoderTransformer(3, max_iter=150, random_state=0)
for name, estimator in {"own network": own, "built-in network": built_in}.items():
    estimator.fit(X[:1500])
    error = -estimator.score(X[1500:]) / X.var(axis=0).mean()
    print(f"{name}: {error:.4f} of the variance of new rows is left unexplained")

# %%
# The code of the own network has a meaning: its first two numbers are the direction of
# the bump. The picture shows this for rows that the network has not seen.
code = own.transform(X[1500:])
found = np.arctan2(code[:, 1], code[:, 0]) % (2 * np.pi)
figure, ax = plt.subplots(figsize=(4, 4), layout="constrained")
ax.plot(position[1500:], found, ".", markersize=3)
ax.set_xlabel("true position")
ax.set_ylabel("position by the code")
plt.show()

# %%
# Each further argument of the class is a parameter of the estimator. The argument
# ``width`` is the parameter ``network__width``. A search can run over it.
search = GridSearchCV(own, {"network__width": [4, 64]}, cv=2).fit(X[:1500])
print(search.cv_results_["mean_test_score"], search.best_params_)

# %%
# Pass the class, not an instance of it. All clones of the estimator would share the
# trained weights of an instance. See :doc:`/guide`.
