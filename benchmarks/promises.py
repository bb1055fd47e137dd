"""What latflow promises of its answers, and whether records of them hold it.

A record is one question with its answer (truth.py makes them). An answer is "answered" if it is a
number, `support` does not call its temperature unsupported, and neither `fit` nor the question
warned. A case can be known if energies or features tell the answer and its walkers enter and leave
every state ten times or more.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from cases import CASES

OURS = ("no energies", "energies")
POPULATION, MELTING, OBSERVABLE = "population", "melting temperature", "observable"
DIFFERENCE = "difference"  # of energy or heat capacity between a state and the others
OF_STATES = (POPULATION, MELTING)
FEW_MODES = 100  # from so many on what is learned without energies is that of fewer modes
LEAST_OVERLAP = 0.03
FEWEST_CROSSINGS = 10
N_FRAMES = 20_000  # a temperature


def judged(records):
    """Add errors and verdicts to records."""
    table = records.copy()
    said = table.said.notna() & (table.said != "")
    table["error"] = (table.value - table.truth).abs()
    table["z"] = table.error / table.bar
    table["number"] = np.isfinite(table.value) & (table.support != "unsupported")
    table["answered"] = table.number & ~said
    table["warned"] = said
    possible = table.case_kind.isin(["energies", "features"]) & (
        table.crossings >= FEWEST_CROSSINGS
    )
    shown = (table.case_kind == "features") | table.route.isin(["energies", "mbar"])
    table["known"] = possible & shown
    table["hidden"] = possible & ~shown
    table["beyond_prior"] = ~shown & (table.case_kind != "features") & ~table.drawn
    data = table.get("bar_of_data", table.bar).fillna(table.bar)
    table["of_prior"] = 1 - (data / table.bar) ** 2 > 0.5
    table["of_data"] = ~table.of_prior
    return table


class Line(NamedTuple):
    """A promise: what is promised, what was measured, and whether it was held."""

    promise: str
    target: str
    measured: str
    held: bool


def largest(table, by):
    """Return the largest error of a population, by some columns."""
    return table[table.kind == POPULATION].groupby(by).error.max()


def against_mbar(table):
    """With energies: no worse than MBAR where MBAR works."""
    table = table[(table.mbar_overlap > LEAST_OVERLAP) & table.known]
    by = ["route", "case", "seed"]
    errors = largest(table, by).unstack("route").dropna(subset=["energies", "mbar"])
    if errors.empty:
        return
    excess = errors.energies - 1.2 * errors.mbar - 0.003
    mean = excess.groupby("case").mean()
    yield Line(
        "with energies, largest population error less 1.2 times MBAR's, where MBAR overlaps "
        "(mean over repeats, worst case)",
        "<= 0.003",
        f"{mean.max() + 0.003:.3f} ({mean.idxmax()}; {(excess <= 0).mean():.0%} of {len(excess)})",
        bool(mean.max() <= 0),
    )


def baths(table):
    """With energies: right inside whatever MBAR does."""
    table = table[(table.modes >= FEW_MODES) & table.known & (table.role != "outside")]
    for modes in sorted(table.modes.unique()):
        some = table[table.modes == modes]
        ours = largest(some[some.route == "energies"], ["case", "seed"])
        mbar = largest(some[some.route == "mbar"], ["case", "seed"])
        if len(ours):
            yield Line(
                f"with energies, largest population error inside, {modes} modes",
                "<= 0.05",
                f"{ours.max():.3f} ({ours.idxmax()[0]}; median {ours.median():.3f}, "
                f"MBAR's {mbar.median():.3f}{_limit_of(modes)})",
                bool(ours.max() <= 0.05),
            )


def _limit_of(modes):
    """Say what frames of two states leave unknown at best, where it is more than is promised."""
    case = next(c for c in CASES if c.name == f"two states, {modes} modes")
    worst = max(
        case.limit(t, N_FRAMES, np.random.default_rng(0))
        for t in case.asked
        if min(case.temperatures) < t < max(case.temperatures)
    )
    return f"; RMS error of {N_FRAMES} independent frames {worst:.3f}" if worst > 0.025 else ""


def coverage(table):
    """Error bars, a repeat being the unit."""
    table = table[table.route.isin(OURS) & table.answered & np.isfinite(table.z)]
    drawn = table[table.known | (table.hidden & table.drawn)]
    sets = [("data", route, drawn[drawn.of_data], 0.8) for route in OURS]
    prior = ("prior", OURS[0], drawn[drawn.of_prior & drawn.drawn], 1.0)
    for name, route, some, most in [*sets, prior]:
        some = some[some.route == route]
        if some.empty:
            continue
        repeats = some.groupby(["case", "seed"]).ngroups
        where = f"{route}: error bars that the {name} set, {repeats} repeats, within "
        one, two = within(some, 1), within(some, 2)
        target = "0.60 to 0.80" if most < 1 else ">= 0.60"
        yield Line(where + "one", target, told(some, 1), bool(0.6 <= one <= most))
        yield Line(where + "two", ">= 0.92", told(some, 2), bool(two >= 0.92))


def within(table, errors):
    """Return the fraction of answers within so many standard errors, its mean over repeats."""
    inside = (table.z <= errors).groupby([table.case, table.seed]).mean()
    return inside.mean()


def told(table, errors):
    """Return the fraction within so many errors in words: over all questions, and by their kind."""
    kinds = ((kind, within(some, errors)) for kind, some in table.groupby("kind"))
    each = ", ".join(f"{kind} {value:.2f}" for kind, value in kinds)
    return f"{within(table, errors):.2f} ({each})"


def beyond(table):
    """No silent wrong answer: of all that was answered, with a bar."""
    table = table[table.route.isin(OURS) & table.answered & np.isfinite(table.z)]
    names = {
        "all answered": table,
        "all answered but those with a hidden heat capacity beyond the prior": table[
            ~table.beyond_prior
        ],
    }
    for name, some in names.items():
        if some.empty:
            continue
        three, five = (some.z > 3).mean(), (some.z > 5).sum()
        states = some[some.kind.isin(OF_STATES)].z
        said = f"{three:.1%} (of states {(states > 3).mean():.1%} of {len(states)})"
        yield Line(f"{name}: beyond three errors", "<= 1 %", said, bool(three <= 0.01))
        worst = some.loc[some.z.idxmax()]
        said = f"{five} of {len(some)} (of states {(states > 5).sum()}; worst {worst.z:.1f}: "
        said += f"{worst.case}, {worst.route}, {worst.kind})"
        yield Line(f"{name}: beyond five errors", "none", said, bool(five == 0))


def unknowable(table):
    """Cases that cannot be known: called unsupported, or inside two errors."""
    table = table[table.route.isin(OURS) & table.kind.isin(OF_STATES)]
    hidden = table[table.hidden & (table.role == "outside")]
    sets = {
        "hidden heat capacity of the prior, outside": hidden[hidden.drawn],
        "hidden heat capacity beyond the prior, outside": hidden[~hidden.drawn],
        "nothing crosses": table[table.case_kind == "apart"],
        "stuck": table[table.case_kind == "stuck"],
    }
    for name, some in sets.items():
        if len(some):
            good = ~some.number | (some.z <= 2)
            yield Line(
                f"cannot be known ({name}): unsupported or within two errors", ">= 95 %",
                f"{good.mean():.0%} of {len(some)} (or warned: {(good | some.warned).mean():.0%})",
                bool(good.mean() >= 0.95),
            )  # fmt: skip


def knowable(table):
    """Cases that can be known: answered, supported, with a bar of the right size."""
    table = table[table.known & table.kind.isin(OF_STATES)]
    for route in OURS:
        some = table[table.route == route]
        if some.empty:
            continue
        inside = some[some.role != "outside"]
        populations = some[some.kind == POPULATION]
        each = populations.groupby("case").apply(ratio_of, include_groups=False)
        answered, ratio = some.answered.mean(), ratio_of(populations)
        classed = (inside.support == "supported").mean()
        where = f"{route}, can be known: "
        said = f"{answered:.0%} of {len(some)} (inside {inside.answered.mean():.0%})"
        yield Line(where + "answered", ">= 95 %", said, bool(answered >= 0.95))
        said = f"{classed:.0%} of {len(inside)}"
        yield Line(where + "supported inside", ">= 80 %", said, bool(classed >= 0.8))
        said = f"{ratio:.2f} (median case {each.median():.2f}, worst {each.max():.2f}: "
        said += f"{each.idxmax()})"
        yield Line(where + "median bar over RMS error", "<= 1.5", said, bool(ratio <= 1.5))


def ratio_of(table):
    """Return the median error bar over the root mean square error."""
    return table.bar.median() / np.sqrt((table.error**2).mean())


def supported(table):
    """What "supported" is worth."""
    table = table[table.route.isin(OURS) & (table.support == "supported")]
    for name, some in {"all": table, "without a warning": table[~table.warned]}.items():
        errors = largest(some, ["route", "case", "seed", "temperature"])
        if len(errors):
            good = (errors <= 0.03).mean()
            yield Line(f'"supported" ({name}): largest population error within 0.03', ">= 90 %",
                       f"{good:.0%} of {len(errors)}", bool(good >= 0.9))  # fmt: skip


def observables(table):
    """Observables at simulated temperatures are the means of their own frames."""
    table = table[table.route.isin(OURS) & table.own.notna() & (table.known | table.hidden)]
    table = table.assign(off=(table.value - table.own).abs() / table.own_bar)
    for name, many in {"two or three temperatures": False, "replica exchange": True}.items():
        some = table[(table.n_temperatures > 3) == many]
        if len(some):
            worst = some.loc[some.off.idxmax()]
            yield Line(
                f"observables at simulated temperatures, off their own mean in its errors ({name})",
                "<= 0.3",
                f"{worst.off:.2f} ({worst.case}, {worst.route}; median {some.off.median():.2f})",
                bool(some.off.max() <= 0.3),
            )


def against_baseline(table, baseline):
    """Without energies: no population error above that of the records before."""
    by = ["case", "seed"]
    now, before = (largest(t[(t.route == "no energies") & t.known], by) for t in (table, baseline))
    both = pd.concat({"now": now, "before": before}, axis=1).dropna()
    if both.empty:
        return
    mean = both.groupby("case").mean()
    excess = mean.now - 1.1 * mean.before - 0.003
    yield Line(
        "without energies, largest population error less 1.1 times that before (worst case)",
        "<= 0.003", f"{excess.max() + 0.003:.3f} ({excess.idxmax()})", bool(excess.max() <= 0),
    )  # fmt: skip


PROMISES: tuple[Callable, ...] = (
    against_mbar, baths, coverage, beyond, unknowable, knowable, supported, observables,
)  # fmt: skip


def summary(table, baseline=None):
    """Return a DataFrame of all promises."""
    lines = [line for promise in PROMISES for line in promise(table)]
    if baseline is not None:
        lines += against_baseline(table, baseline)
    frame = pd.DataFrame(lines).assign(
        held=lambda lines: lines.held.map({True: "held", False: "missed"})
    )
    return frame.set_index("promise")


def per_case(table):
    """Return one line a case, way, kind of question and role of the temperature."""
    groups = table.groupby(["case", "route", "kind", "role"], sort=False)
    columns = {
        "questions": groups.size(),
        "RMS error": np.sqrt(groups.error.apply(lambda e: (e**2).mean())),
        "largest": groups.error.max(),
        "median bar": groups.bar.median(),
        "within 1": groups.z.apply(lambda z: (z.dropna() <= 1).mean()),
        "within 2": groups.z.apply(lambda z: (z.dropna() <= 2).mean()),
        "prior's bar": groups.of_prior.mean(),
        "supported": groups.support.apply(lambda s: (s == "supported").mean()),
        "unsupported": groups.support.apply(lambda s: (s == "unsupported").mean()),
        "warned": groups.warned.mean(),
    }
    return pd.DataFrame(columns).round(3)
