"""Sphinx settings: pages in Markdown, examples that run, a page for each public name."""

import os
import warnings
from importlib.metadata import version as version_of

warnings.filterwarnings("ignore", ".*FigureCanvasAgg is non-interactive")

project = "latflow"
author = "The latflow developers"
version = release = version_of("latflow")
extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
# results: included by other pages; tutorial: the source of tutorials
exclude_patterns = ["_build", "results", "tutorial"]
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["latflow.css"]
html_js_files = ["tables.js"]
html_theme = "pydata_sphinx_theme"
html_title = f"latflow {version}"
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 7,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": []}
html_show_sourcelink = False
html_context = {"default_mode": "auto"}

myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "colon_fence"]
myst_heading_anchors = 3

default_role = "literal"  # `names` in docstrings and examples look like code
numpydoc_show_class_members = False
autosummary_generate = True
autosummary_imported_members = True
autosummary_ignore_module_all = False
# scikit-learn writes these methods; their docstrings refer to pages of its own
WRITTEN = "set_fit_request, set_score_request, set_split_request, set_output, get_metadata_routing"
autodoc_default_options = {"exclude-members": WRITTEN}
autodoc_typehints = "none"  # numpydoc's parameters say the types
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": ["tutorial", "../examples"],
    "gallery_dirs": ["tutorials", "gallery"],
    "filename_pattern": "/plot_",
    "ignore_pattern": r"(^|/)(?!plot_)[^/]*\.py$",
    "within_subsection_order": "FileNameSortKey",
    "copyfile_regex": r".*\.rst",
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "plot_gallery": True,
    "parallel": int(os.environ.get("LATFLOW_DOCS_JOBS", "2")),
    "matplotlib_animations": False,
    "min_reported_time": 5,
    "capture_repr": ("_repr_html_", "__repr__"),
}

# links to the pages of other packages need their inventories, and a build in CI has no network
if os.environ.get("LATFLOW_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "matplotlib": ("https://matplotlib.org/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "mdtraj": ("https://mdtraj.org/stable", None),
    }
