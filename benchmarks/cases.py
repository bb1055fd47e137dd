"""Questions to systems with exact answers: how they are simulated, and what can be known of them.

A `Case` is a question set: a system of exact.py, how it is simulated, what is asked, and whether
the answer can be known from that simulation.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from exact import (
    N_SHOWN,
    OBSERVABLES,
    double_well,
    helix_coil,
    lattice_polymer,
    magnet,
    three_states,
    three_wells,
    two_states,
)
from scipy.interpolate import CubicHermiteSpline
from scipy.special import expit


@dataclass(frozen=True)
class Data:
    """One simulation of a case: the arguments of fit, and observables, lists of one a trajectory.

    `dynamics` is False where the frames of a trajectory do not follow each other in time.
    """

    trajectories: list
    temperature: list
    energies: list
    states: list
    observables: dict
    dynamics: bool = True


@dataclass(frozen=True)
class Case:
    """A question set.

    `kind` is "energies" (known with them; without them a heat capacity is hidden), "features"
    (known without energies, too), "apart" (nothing crosses) or "stuck" (too little crosses). Hidden
    heat capacities are drawn anew for every simulation if `drawn`. `exchange` is replica exchange,
    with trajectories of "walkers" or frames "sorted" by temperature.

    `start` gives the state that walkers start in, per temperature and walker; None for equilibrium.
    """

    name: str
    kind: str
    make: Callable
    temperatures: tuple[float, ...]
    asked: tuple[float, ...]
    walkers: int = 4
    n_modes: int = 13
    capacity: tuple[float, ...] | None = None
    drawn: bool = False
    crossing: float = 1.0
    start: tuple | None = None
    exchange: str = ""  # "walkers" or "sorted"

    @property
    def known(self):
        """Whether the answer can be known with energies."""
        return self.kind in ("energies", "features")

    @property
    def overlap(self):
        """Least overlap of neighbouring temperatures in their cells: 0 to 1/2 (alike, or one).

        For equally many frames it is that of MBAR's matrix, were the cells' energies all there is.
        """
        each = [self.system().cell_populations(t) for t in self.temperatures]
        overlaps = (np.sum(p * q / np.maximum(p + q, 1e-300)) for p, q in pairwise(each))
        return float(min(overlaps, default=0.5))

    def system(self, hidden=None):
        """Return the system, with the hidden heat capacities of each state if they are given."""
        system = self.make()
        capacity = self.capacity if hidden is None else tuple(hidden)
        capacity = system.capacity if capacity is None else capacity
        return replace(system, capacity=capacity, n_modes=self.n_modes, crossing=self.crossing)

    def draw_hidden(self, scale, rng):
        """Return hidden heat capacities drawn from a prior; None for a case without."""
        if not self.drawn:
            return None
        least = -(self.n_modes - N_SHOWN) / 2
        return np.maximum(scale * rng.standard_normal(self.make().n_states), least)

    def simulate(self, n_frames, rng, hidden=None):
        """Return `Data` of so many frames a temperature."""
        system = self.system(hidden)
        if self.exchange:
            return exchanged(system, self, n_frames, rng)
        parts = []
        for k, t in enumerate(self.temperatures):
            start = None if self.start is None else self.start[k]
            cells = system.walk(t, self.walkers, n_frames // self.walkers, rng, start)
            q, bath = system.modes(system.state[cells], rng)
            parts.append(recorded(system, cells, np.full(cells.shape, t), q, bath, rng))
        return joined(parts, [t for t in self.temperatures for _ in range(self.walkers)])

    def limit(self, temperature, n_frames, rng, n_repeats=400):
        """Return the error that the frames themselves leave in the population of state 0 of two.

        It is the root mean square error of a cubic in beta through the logarithms of the states'
        ratios and their slopes, the mean energies, at two temperatures: from independent frames,
        and without a prior on the heat capacity, nothing does better between them.
        """
        system, ends = self.system(), np.array(sorted(self.temperatures, reverse=True))
        ratios, slopes = (np.empty((n_repeats, 2)) for _ in range(2))
        for k, t in enumerate(ends):
            p = system.populations(t)
            counts = rng.binomial(n_frames, p[0], n_repeats)
            ratios[:, k] = np.log(counts / (n_frames - counts))
            slopes[:, k] = -system.differences(t)["energy"]
            for state, n in enumerate((counts, n_frames - counts)):
                cells = system.draw(t, n_frames, rng, state)
                energies = system.energies(cells, t, system.modes(system.state[cells], rng)[1])
                slopes[:, k] += energies.std() / np.sqrt(n) * rng.standard_normal(n_repeats)
        curves = CubicHermiteSpline(1 / ends, ratios, slopes, axis=1)
        error = expit(curves(1 / temperature)) - system.populations(temperature)[0]
        return float(np.sqrt(np.mean(error**2)))


def recorded(system, cells, temperature, q, bath, rng):
    """Return features, energies, states and observables of an array of cells."""
    return (
        system.seen(cells, rng),
        system.energies(cells, temperature, bath),
        system.state[cells],
        system.observables(cells, temperature, q),
    )


def joined(parts, temperature, *, dynamics=True):
    """Return `Data` of walkers of several simulations, one trajectory each."""
    features, energies, states, observables = zip(*parts, strict=True)
    return Data(
        [x for each in features for x in each],
        temperature,
        [e for each in energies for e in each],
        [s for each in states for s in each],
        {name: [v for each in observables for v in each[name]] for name in OBSERVABLES},
        dynamics,
    )


def exchanged(system, case, n_frames, rng):
    """Replica exchange, a swap of neighbours tried at every frame; one walker a temperature."""
    temperatures = np.array(case.temperatures)
    n, steps = len(temperatures), [system.stepper(t) for t in temperatures]
    at = np.arange(n)  # temperature of each walker
    start = [-1] * n if case.start is None else case.start
    cells = np.array(
        [int(system.draw(t, (), rng, None if s < 0 else s))
         for t, s in zip(temperatures, start, strict=True)]
    )  # fmt: skip
    kept = {name: [] for name in ("cells", "at", "q", "bath")}
    for frame in range(n_frames):
        q, bath = system.modes(system.state[cells], rng)
        for name, value in (("cells", cells), ("at", at), ("q", q), ("bath", bath)):
            kept[name].append(value)
        at = swapped(at, system.energies(cells, temperatures[at], bath), temperatures, frame, rng)
        cells = np.array([steps[k](cells[i : i + 1], rng)[0] for i, k in enumerate(at)], dtype=int)
    cells, at, bath = (np.array(kept[name]).T for name in ("cells", "at", "bath"))
    q = np.moveaxis(np.array(kept["q"]), 0, -1)
    if case.exchange == "sorted":
        order = np.argsort(at, axis=0)
        cells, at, bath = (np.take_along_axis(v, order, axis=0) for v in (cells, at, bath))
        q = np.take_along_axis(q, order[None], axis=1)
    part = recorded(system, cells, temperatures[at], q, bath, rng)
    in_time = case.exchange != "sorted"
    given = list(temperatures[at]) if in_time else list(temperatures)
    return joined([part], given, dynamics=in_time)


def swapped(at, energies, temperatures, frame, rng):
    """Return the walkers' temperatures after trying to swap every second pair of neighbours."""
    walker = np.argsort(at)
    for k in range(frame % 2, len(at) - 1, 2):
        i, j = walker[k], walker[k + 1]
        gain = (1 / temperatures[k] - 1 / temperatures[k + 1]) * (energies[i] - energies[j])
        if gain > 0 or rng.random() < np.exp(gain):
            walker[k], walker[k + 1] = j, i
    return np.argsort(walker)


def asked_of(make, simulated, asked):
    """Return fields of a case: its system, the simulated temperatures, others asked for."""
    return {
        "make": make,
        "temperatures": simulated,
        "asked": tuple(sorted({*simulated[:1], *simulated[-1:], *asked})),
    }


TWO = asked_of(two_states, (0.8, 1.6), (0.68, 0.95, 1.2, 2.0))
THREE = asked_of(three_states, (0.8, 1.2), (0.7, 0.95, 1.05, 1.5))
WELL = asked_of(double_well, (0.6, 1.1), (0.5, 0.75, 0.9, 1.5))
WELLS = asked_of(three_wells, (0.5, 1.0), (0.4, 0.65, 0.8, 1.4))
CHAIN = asked_of(helix_coil, (0.8, 1.2), (0.7, 0.95, 1.05, 1.4))
MAGNET = asked_of(magnet, (2.2, 3.2), (1.8, 2.5, 2.8, 4.0))
POLYMER = asked_of(lattice_polymer, (0.4, 0.6), (0.34, 0.46, 0.52, 0.75))
THREE_3 = asked_of(three_states, (0.75, 1.0, 1.3), (0.65, 0.87, 1.15, 1.6))
CHAIN_3 = asked_of(helix_coil, (0.75, 1.0, 1.3), (0.68, 0.87, 1.15, 1.5))
WELL_1 = asked_of(double_well, (0.8,), (0.72, 0.9))
WELLS_1 = asked_of(three_wells, (0.7,), (0.62, 0.8))
LADDER = (0.5, 0.58, 0.68, 0.8, 0.93, 1.08, 1.25)
EXCHANGE = asked_of(double_well, LADDER, (0.45, 0.63, 0.74, 0.93, 1.16, 1.5))

CASES = (
    Case("two states, few modes", "energies", **TWO, n_modes=3),
    *(Case(f"two states, {m} modes", "energies", **TWO, n_modes=m) for m in (100, 1000, 10_000)),
    Case("two states, drawn", "energies", **TWO, drawn=True, n_modes=33),
    Case("two states, rare", "energies", **TWO, crossing=0.05, walkers=1),
    Case("three states", "energies", **THREE),
    Case("three states, 1000 modes", "energies", **THREE, n_modes=1000, walkers=1),
    Case("three states, drawn", "energies", **THREE, drawn=True, n_modes=33),
    Case("double well", "energies", **WELL),
    Case("double well, 1000 modes", "energies", **WELL, n_modes=1000),
    Case("double well, drawn", "energies", **WELL, drawn=True, n_modes=33),
    Case("three wells", "features", **WELLS, walkers=10),
    Case("three wells, 100 modes", "features", **WELLS, n_modes=100, walkers=10),
    Case("three wells, 1000 modes", "features", **WELLS, n_modes=1000, walkers=10),
    Case("helix and coil", "features", **CHAIN, walkers=20),
    Case("helix and coil, drawn", "energies", **CHAIN, walkers=20, drawn=True, n_modes=33),
    Case("magnet", "energies", **MAGNET, walkers=20),
    Case("lattice polymer", "features", **POLYMER),
    Case("lattice polymer, 1000 modes", "features", **POLYMER, n_modes=1000),
    Case("three states, three temperatures", "energies", **THREE_3, drawn=True, n_modes=33),
    Case("helix and coil, three temperatures", "features", **CHAIN_3, walkers=20),
    Case("double well, one temperature", "energies", **WELL_1),
    Case("three wells, one temperature", "energies", **WELLS_1, walkers=10),
    Case("exchange, walkers", "energies", **EXCHANGE, exchange="walkers"),
    Case("exchange, sorted", "energies", **EXCHANGE, exchange="sorted"),
    Case("two states, cold one and hot other", "apart", **TWO, start=(0, 1), crossing=0.0),
    Case("three states, as started", "apart", **THREE, start=((0, 0, 1, 2),) * 2, crossing=0.0),
    Case("double well, as started", "apart", **WELL, start=((0, 1, 1, 1), (0, 0, 0, 1)),
         crossing=0.0),
    Case("lattice polymer, cold one and hot other", "apart", **POLYMER, start=(0, 1),
         crossing=0.0),
    Case("exchange, as started", "apart", **EXCHANGE, exchange="walkers",
         start=(0, 0, 1, 1, 1, 1, 1), crossing=0.0),
    Case("two states, stuck", "stuck", **TWO, start=(1, 0), crossing=0.001, walkers=1),
    Case("three wells, stuck", "stuck", **WELLS, start=((2, 1), (0, 1)), crossing=0.00002,
         walkers=2),
    Case("helix and coil, stuck", "stuck", **CHAIN, start=(1, 0), crossing=0.0002, walkers=8),
    Case("magnet, stuck", "stuck", **MAGNET, start=(1, 1), crossing=0.0002, walkers=8),
)  # fmt: skip
