"""Where the documentation is published: the one place that holds its address."""

DOCS_URL = "https://skautoenc.readthedocs.io/en/stable/"

# The page of a class, as scikit-learn's notebook representation fills it in.
CLASS_PAGE = DOCS_URL + "generated/{estimator_module}.{estimator_name}.html"
