"""Sphinx settings."""

project = "latflow"
author = "The latflow developers"
extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
numpydoc_show_class_members = False
exclude_patterns = ["_build"]
html_theme = "alabaster"
