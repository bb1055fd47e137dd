"""A fitted model as one HTML page, and the demo: such a page about a fit that is judged."""

from latflow.report.demo import DemoResult, readable, run_demo
from latflow.report.diagnosis import diagnosis_sections
from latflow.report.live import live_data
from latflow.report.model_report import write_model_report
from latflow.report.page import Section, blank_figure, write_report
from latflow.report.sections import Reference, model_sections, population_table

__all__ = [
    "DemoResult",
    "Reference",
    "Section",
    "blank_figure",
    "diagnosis_sections",
    "live_data",
    "model_sections",
    "population_table",
    "readable",
    "run_demo",
    "write_model_report",
    "write_report",
]
