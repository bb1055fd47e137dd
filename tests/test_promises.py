"""The verdicts on latflow's promises: held by honest answers, missed by each kind of dishonesty."""

import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import promises

sys.path.pop(0)
ROLES = {0.5: "simulated", 0.7: "inside", 1.0: "simulated", 1.4: "outside"}
CASES = (  # name, kind, drawn, modes
    ("bath", "energies", True, 1000),
    ("shown", "features", False, 13),
    ("drawn", "energies", True, 13),
    ("split", "apart", False, 13),
)


@lru_cache
def honest():
    """Return records of a method that knows its errors, and what it cannot know."""
    rng = np.random.default_rng(0)
    records = [
        {"case": case, "case_kind": kind, "drawn": drawn, "modes": modes, "seed": seed,
         "route": route, "kind": what, "about": about, "temperature": t, "role": role}
        for case, kind, drawn, modes in CASES
        for route in ("no energies", "energies", "mbar")
        for what, about in (("population", 0), ("population", 1), ("observable", "q"))
        for t, role in ROLES.items()
        for seed in range(30)
    ]  # fmt: skip
    table = pd.DataFrame(records).assign(truth=0.5, bar=0.01, crossings=50, n_temperatures=2)
    quantiles = norm.ppf((np.arange(30) + 0.5) / 30)
    each = [rng.permutation(quantiles) for _ in range(len(table) // 30)]
    table["value"] = 0.5 + 0.009 * np.concatenate(each)
    table["said"], table["mbar_overlap"] = np.nan, 0.2
    table["support"] = np.where(table.role == "outside", "extrapolated", "supported")
    table.loc[table.case == "split", "support"] = "unsupported"
    of_prior = table.drawn & (table.route == "no energies") & (table.role == "outside")
    table["bar_of_data"] = np.where(of_prior, 0.001, table.bar)
    mean = (table.kind == "observable") & (table.role == "simulated")
    table["own"], table["own_bar"] = table.value.where(mean), 0.01
    ours, mbar = (
        (table.kind == "population") & (table.route == route) for route in ("energies", "mbar")
    )
    table.loc[mbar, "value"] = table.value[ours].to_numpy()
    return table


def lines(table, baseline=None):
    """Return the summary of records, as a program writes and reads them."""
    baseline = None if baseline is None else promises.judged(baseline)
    return promises.summary(promises.judged(table.reset_index(drop=True)), baseline)


def missed(table, baseline=None):
    """Return the promises missed, as one text."""
    found = lines(table, baseline)
    return "\n".join(found.index[found.held == "missed"])


def test_honest_answers_hold_every_promise():
    found = lines(honest(), honest())
    assert missed(honest(), honest()) == ""
    assert len(found) == 24


def spoil(table, rows, **columns):
    """Return records with other values in some rows."""
    return table.assign(**{k: table[k].mask(rows, v) for k, v in columns.items()})


SPOILED = {
    "error bars that the data set, 90 repeats, within one": lambda t: spoil(
        t, t.seed >= 0, bar=0.003
    ),
    "error bars that the prior set, 60 repeats, within two": lambda t: spoil(
        t, t.bar_of_data < t.bar, bar=0.002, bar_of_data=0.0001
    ),
    "beyond three errors": lambda t: spoil(t, t.seed == 1, value=0.6),
    "beyond five errors": lambda t: spoil(t, t.index == 0, value=0.6),
    "nothing crosses": lambda t: spoil(t, t.case == "split", support="supported", value=0.9),
    "hidden heat capacity of the prior": lambda t: spoil(t, t.bar_of_data < t.bar, value=0.6),
    "energies, can be known: answered": lambda t: spoil(t, t.seed < 3, said="It warned."),
    "energies, can be known: supported inside": lambda t: spoil(
        t, t.seed < 10, support="extrapolated"
    ),
    "energies, can be known: median bar": lambda t: spoil(t, t.seed >= 0, bar=0.02),
    "largest population error within 0.03": lambda t: spoil(t, t.seed < 6, value=0.56),
    "observables at simulated": lambda t: spoil(t, t.index == t.own.first_valid_index(), own=0.9),
    "largest population error inside, 1000 modes": lambda t: spoil(
        t, (t.case == "bath") & (t.route == "energies") & (t.seed == 3), value=0.56
    ),
    "less 1.2 times MBAR's": lambda t: spoil(t, t.route == "mbar", value=0.5),
}


@pytest.mark.parametrize("promise", SPOILED)
def test_each_promise_is_missed_by_what_breaks_it(promise):
    assert promise in missed(SPOILED[promise](honest()))


def test_answers_without_energies_are_compared_with_those_before():
    worse = spoil(honest(), honest().route == "no energies", value=0.56)
    assert "times that before" in missed(worse, honest())
    assert "times that before" not in missed(honest(), worse)


def test_few_crossings_and_hidden_capacities_are_no_case_that_can_be_known():
    table = promises.judged(spoil(honest(), honest().case == "shown", crossings=9))
    known = table.groupby(["case", "route"]).known.any()
    assert set(known.index[known]) == {
        (case, route) for case in ("bath", "drawn") for route in ("energies", "mbar")
    }
    hidden = table[table.hidden]
    assert set(hidden.route) == {"no energies"}
    assert set(hidden.case) == {"bath", "drawn"}
