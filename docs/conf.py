"""Sphinx settings."""

project = "latflow"
author = "The latflow developers"
extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
numpydoc_show_class_members = False
exclude_patterns = ["_build", "results"]  # results: included by other pages
html_theme = "alabaster"
# scikit-learn writes these methods; their docstrings refer to pages of its own
WRITTEN = "set_fit_request, set_score_request, set_split_request, set_output, get_metadata_routing"
autodoc_default_options = {"exclude-members": WRITTEN}
