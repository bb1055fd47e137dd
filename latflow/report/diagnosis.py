"""What the doctor found, as sections of a page."""

from __future__ import annotations

import pandas as pd

from latflow._versions import versions
from latflow.doctor import Diagnosis
from latflow.doctor.findings import VERDICTS
from latflow.report.page import Section


def diagnosis_sections(diagnosis: Diagnosis) -> list[Section]:
    """Return the sections of a page about findings, the worst verdicts first.

    Parameters
    ----------
    diagnosis : Diagnosis
        As :func:`latflow.diagnose` returns it.

    Returns
    -------
    list of Section
        For :func:`write_report`.
    """
    sections = [Section("", text=f"{diagnosis.summary()}.")]
    for verdict in VERDICTS:
        of_verdict = [finding for finding in diagnosis if finding.verdict == verdict]
        paragraphs = [
            f"{finding.check}: {finding.figure}. {finding.cure}".strip() for finding in of_verdict
        ]
        if paragraphs:
            sections.append(Section(verdict.capitalize(), text="\n\n".join(paragraphs)))
    table = pd.DataFrame(versions().items(), columns=["what", "version"])
    return [*sections, Section("Versions", table=table)]
