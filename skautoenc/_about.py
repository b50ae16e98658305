"""The version, and the address of the published documentation.

No other file of the package holds them.
"""

__version__ = "0.1.0"

# Empty until the first release: docs/releasing.md says how to set it. While it is
# empty, nothing links to the published documentation. An address ends with a slash.
DOCS_URL = ""


def class_page(address: str) -> str:
    """Return the template of a class's page, which scikit-learn fills in.

    An empty address gives an empty template, which scikit-learn takes for "no link".
    """
    page = "generated/{estimator_module}.{estimator_name}.html"
    return address + page if address else ""
