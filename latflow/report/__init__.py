"""A fitted model as one HTML page, and the demo: such a page about a fit that is judged."""

from latflow.report.demo import DemoResult, readable, run_demo
from latflow.report.diagnosis import diagnosis_sections
from latflow.report.page import Section, blank_figure, write_report
from latflow.report.sections import Reference, model_sections, population_table

__all__ = [
    "DemoResult",
    "Reference",
    "Section",
    "blank_figure",
    "diagnosis_sections",
    "model_sections",
    "population_table",
    "readable",
    "run_demo",
    "write_report",
]
