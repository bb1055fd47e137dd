"""What a check found, and all findings together as text, table and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from textwrap import indent
from typing import Any, Literal, TypeVar

import pandas as pd

from latflow._versions import versions

Verdict = Literal["pass", "warn", "fail", "not checked"]
VERDICTS: tuple[Verdict, ...] = ("fail", "warn", "not checked", "pass")  # the worst first
WIDEST = max(map(len, VERDICTS))

Subject = TypeVar("Subject")


class NotChecked(Exception):
    """A check that cannot be made; its message goes on after "not checked, because"."""


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes
    ----------
    verdict : {"pass", "warn", "fail", "not checked"}
    figure : str
        What was seen, with its number, in words.
    cure : str
        What to do about it, one sentence; empty for a pass.
    value : float or None
        The number that the verdict rests on.
    check : str
        Name of the check.
    """

    verdict: Verdict
    figure: str
    cure: str = ""
    value: float | None = None
    check: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All findings of :func:`latflow.diagnose`; text when printed.

    Attributes
    ----------
    findings : tuple of Finding
        In the order of the checks.
    """

    findings: tuple[Finding, ...]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __getitem__(self, check: str) -> Finding:
        """Return the finding of a check by its name."""
        for finding in self.findings:
            if finding.check == check:
                return finding
        names = ", ".join(finding.check for finding in self.findings)
        raise KeyError(f"Expected one of the checks {names}, got {check}.")

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of any check: "fail", "warn" or "pass"."""
        seen = {finding.verdict for finding in self.findings} - {"not checked"}
        return next((verdict for verdict in VERDICTS if verdict in seen), "pass")

    @property
    def table(self) -> pd.DataFrame:
        """A DataFrame with the index `check` and columns `verdict`, `figure`, `cure`, `value`."""
        columns = ["check", "verdict", "figure", "cure", "value"]
        return pd.DataFrame(map(asdict, self.findings), columns=columns).set_index("check")

    def summary(self) -> str:
        """Return how many checks ended how, in one line.

        Examples
        --------
        >>> Diagnosis((Finding("pass", "no NaN"), Finding("fail", "one NaN"))).summary()
        '1 fail, 0 warn, 0 not checked, 1 pass'
        """
        counts = {v: sum(finding.verdict == v for finding in self.findings) for v in VERDICTS}
        return ", ".join(f"{n} {verdict}" for verdict, n in counts.items())

    def to_json(self) -> str:
        """Return findings, the worst verdict and versions as JSON, to be sent with a question."""
        content = {
            "verdict": self.verdict,
            "findings": [asdict(finding) for finding in self.findings],
            "versions": versions(),
        }
        return json.dumps(content, indent=2, allow_nan=False)

    def __str__(self) -> str:
        margin = " " * (WIDEST + 2)
        lines = []
        for finding in sorted(self.findings, key=lambda one: VERDICTS.index(one.verdict)):
            lines.append(f"{finding.verdict:<{WIDEST}}  {finding.check}: {finding.figure}")
            if finding.cure:
                lines.append(indent(finding.cure, margin))
        return "\n".join([*lines, "", self.summary()])


def passed(figure: str, value: float | None = None) -> Finding:
    """Return the finding that all is well."""
    return Finding("pass", figure, "", value)


def judged(
    figure: str, cure: str, *, warn: bool, fail: bool, value: float | None = None
) -> Finding:
    """Return a finding that fails, or warns, with its cure, or passes without one."""
    if not (warn or fail):
        return passed(figure, value)
    return Finding("fail" if fail else "warn", figure, cure, value)


def run(
    checks: Mapping[str, Callable[[Subject], Finding]], subject: Subject
) -> tuple[Finding, ...]:
    """Return the findings of checks by name; those that cannot be made say why."""
    return tuple(_named(name, check, subject) for name, check in checks.items())


def _named(name: str, check: Callable[[Any], Finding], subject: Any) -> Finding:
    try:
        return replace(check(subject), check=name)
    except NotChecked as why:
        return Finding("not checked", f"not checked, because {why}", check=name)
