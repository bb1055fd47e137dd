"""Systems whose thermodynamics is known exactly.

Every system is a list of cells: points of a grid, conformations on a lattice, patterns of spins, or
whole states. A cell has an energy, a degeneracy and a state. On top of them come harmonic modes,
and for each state a heat capacity that no feature shows,

    ln w_m(T) = ln g_m - E_m / T + C_s (ln(T / T_0) + T_0 / T - 1),      k_B = 1,

whose last term has value and slope zero at T_0. It is the partition function of energies E - C T_0
with E drawn from Gamma(C) T, so that the energy of every frame is drawn exactly, too. Averages at
any temperature are sums over the cells.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.linalg import expm
from scipy.optimize import brentq
from scipy.signal import lfilter
from scipy.special import softmax

N_SHOWN = 3  # harmonic modes that observables read
DAMPING = 0.8  # of the features' noise, from frame to frame
OBSERVABLES = {  # of one mode of stiffness k: its mean, a function of T / k
    "q^2": lambda variance: variance,
    "|q|": lambda variance: np.sqrt(2 / np.pi * variance),
    "q^4": lambda variance: 3 * variance**2,
}
VALUES = (np.square, np.abs, lambda q: q**4)  # the same observables, of q


@dataclass(frozen=True)
class System:
    """Cells, hidden heat capacities and harmonic modes.

    `move` tells how the cell changes from a frame to the next: "redraw" takes a new state of the
    equilibrium with probability `pace`, and a new cell of its state in every frame; "hop" follows
    rates between the pairs of cells `bonds` for a time `pace`; "flip" turns `pace` single spins,
    bits of the cell's number. All rates from one state to another are multiplied by `crossing`, at
    most 1, which changes no equilibrium.
    """

    name: str
    log_degeneracy: np.ndarray
    energy: np.ndarray
    state: np.ndarray
    features: np.ndarray
    move: str
    pace: float
    bonds: np.ndarray | None = None
    crossing: float = 1.0
    noise: float = 0.0
    capacity: tuple[float, ...] = ()
    reference: float = 1.0
    n_modes: int = N_SHOWN

    @property
    def n_states(self):
        return int(self.state.max()) + 1

    @property
    def capacities(self):
        """Hidden heat capacity of each state, in k_B."""
        return np.asarray(self.capacity or np.zeros(self.n_states), dtype=float)

    @property
    def stiffness(self):
        """Of the modes that observables read, by state."""
        return 1.0 + 2.0 * np.arange(self.n_states)

    def log_weights(self, temperature):
        """Return the logarithm of each cell's weight."""
        ratio = self.reference / temperature
        extra = self.capacities * (ratio - 1 - np.log(ratio))
        return self.log_degeneracy - self.energy / temperature + extra[self.state]

    def cell_populations(self, temperature):
        return softmax(self.log_weights(temperature))

    def populations(self, temperature):
        """Return the exact population of each state."""
        return np.bincount(self.state, self.cell_populations(temperature), self.n_states)

    def observable(self, name, temperature):
        """Return the exact mean of an observable, or of the "energy"."""
        if name == "energy":
            return float(self.cell_populations(temperature) @ self._mean_energies(temperature))
        return float(
            self.populations(temperature) @ OBSERVABLES[name](temperature / self.stiffness)
        )

    def heat_capacity(self, temperature):
        """Return the exact heat capacity of everything, in k_B."""
        return self._moments(temperature, self.state >= 0)[1]

    def differences(self, temperature, state=0):
        """Return energy and heat capacity of a state less those of all others together."""
        one, others = (
            self._moments(temperature, among)
            for among in (self.state == state, self.state != state)
        )
        return {"energy": one[0] - others[0], "heat_capacity": one[1] - others[1]}

    def _moments(self, temperature, among):
        """Mean energy and heat capacity of some of the cells."""
        p = softmax(self.log_weights(temperature)[among])
        energy = self._mean_energies(temperature)[among]
        within = self.n_modes / 2 + p @ self.capacities[self.state[among]]
        return float(p @ energy), float(within + p @ (energy - p @ energy) ** 2 / temperature**2)

    def melting_temperature(self, state, low, high):
        """Return where a state holds half of the population, NaN where it nowhere does."""
        ends = [self.populations(t)[state] - 0.5 for t in (low, high)]
        if ends[0] * ends[1] > 0:
            return np.nan
        return float(brentq(lambda t: self.populations(t)[state] - 0.5, low, high))

    def _mean_energies(self, temperature):
        """Mean energy at each cell."""
        hidden = self.capacities * (temperature - self.reference)
        return self.energy + hidden[self.state] + self.n_modes / 2 * temperature

    # ---------------------------------------------------------- simulation

    def draw(self, temperature, size, rng, state=None):
        """Draw cells of the equilibrium, or of one state of it."""
        p = self.cell_populations(temperature)
        p = p if state is None else p * (self.state == state)
        return np.searchsorted(np.cumsum(p), rng.random(size) * p.sum(), side="right")

    def walk(self, temperature, n_walkers, n_frames, rng, start=None):
        """Return cells, shape (n_walkers, n_frames); walkers start in equilibrium or in a state."""
        starts = np.broadcast_to(-1 if start is None else start, n_walkers)
        cells = np.array(
            [self.draw(temperature, (), rng, None if s < 0 else s) for s in starts], dtype=int
        )
        if self.move == "redraw":
            return self._redrawn(temperature, cells, n_frames, rng)
        step = self.stepper(temperature)
        path = np.empty((n_frames, n_walkers), dtype=int)
        for t in range(n_frames):
            path[t] = cells
            cells = step(cells, rng)
        return path.T

    def _redrawn(self, temperature, cells, n_frames, rng):
        """A new state now and then, a new cell of the state at every frame."""
        size = (len(cells), n_frames)
        states = self.state[self.draw(temperature, size, rng)]
        states[:, 0] = self.state[cells]
        renewed = rng.random(size) < self.pace * self.crossing
        renewed[:, 0] = True
        last = np.maximum.accumulate(np.where(renewed, np.arange(n_frames), 0), axis=1)
        states = np.take_along_axis(states, last, axis=1)
        path = np.empty(size, dtype=int)
        for state in range(self.n_states):
            among = states == state
            path[among] = self.draw(temperature, among.sum(), rng, state)
        return path

    def stepper(self, temperature):
        """Return a function that moves an array of cells on by one frame."""
        if self.move == "hop":
            return self._hopper(temperature)
        if self.move == "flip":
            return self._flipper(temperature)

        def step(cells, rng):
            start = np.where(
                rng.random(cells.shape) < self.pace * self.crossing, -1, self.state[cells]
            )
            drawn = self.draw(temperature, cells.shape, rng)
            for state in range(self.n_states):
                among = start == state
                drawn[among] = self.draw(temperature, among.sum(), rng, state)
            return drawn

        return step

    def rates(self, temperature):
        """Return the generator of "hop": a rate of sqrt(w_j / w_i) between neighbours."""
        i, j = self.bonds.T
        log_w = self.log_weights(temperature)
        rates = np.zeros((len(log_w), len(log_w)))
        factor = np.where(self.state[i] == self.state[j], 1.0, self.crossing)
        rates[i, j] = factor * np.exp((log_w[j] - log_w[i]) / 2)
        rates[j, i] = factor * np.exp((log_w[i] - log_w[j]) / 2)
        return rates - np.diag(rates.sum(axis=1))

    def _hopper(self, temperature):
        sums = np.cumsum(expm(self.pace * self.rates(temperature)), axis=1)

        def step(cells, rng):
            marks = rng.random((len(cells), 1)) * sums[cells, -1:]
            return (sums[cells] <= marks).sum(axis=1)

        return step

    def _flipper(self, temperature):
        log_w = self.log_weights(temperature)
        n_spins = int(np.log2(len(log_w)))

        def step(cells, rng):
            for _ in range(int(self.pace)):
                other = cells ^ (1 << rng.integers(n_spins, size=cells.shape))
                odds = np.exp(np.clip(log_w[cells] - log_w[other], -500, 500))
                factor = np.where(self.state[cells] == self.state[other], 1.0, self.crossing)
                turned = rng.random(cells.shape) * (1 + odds) < factor
                cells = np.where(turned, other, cells)
            return cells

        return step

    def modes(self, states, rng):
        """Draw, in units of k_B T, the shown modes and the energy of all that no feature shows."""
        q = rng.standard_normal((N_SHOWN, *states.shape))
        shape = (self.n_modes - N_SHOWN) / 2 + self.capacities[states]
        bath = np.where(shape > 0, rng.standard_gamma(np.maximum(shape, 1e-300)), 0.0)
        return q, bath + (q**2).sum(axis=0) / 2

    def energies(self, cells, temperature, bath):
        """Return the total potential energy."""
        hidden = self.capacities[self.state[cells]] * self.reference
        return self.energy[cells] + temperature * bath - hidden

    def observables(self, cells, temperature, q):
        """Return the observables of the shown modes."""
        scale = np.sqrt(temperature / self.stiffness[self.state[cells]])
        return {
            name: value(scale * mode)
            for name, value, mode in zip(OBSERVABLES, VALUES, q, strict=True)
        }

    def seen(self, cells, rng):
        """Return the features, shape (..., n_features), with correlated noise."""
        x = self.features[cells]
        if not self.noise:
            return x
        kicks = rng.standard_normal(x.shape) * np.sqrt(1 - DAMPING**2)
        kicks[:, 0] /= np.sqrt(1 - DAMPING**2)
        return x + self.noise * lfilter([1], [1, -DAMPING], kicks, axis=1)


# ------------------------------------------------------------------ systems


def two_states():
    """A folded and an unfolded state by formula; features tell the state and nothing else."""
    return System(
        "two states",
        log_degeneracy=np.array([0.0, 5.2]),
        energy=np.array([0.0, 6.0]),
        state=np.arange(2),
        features=np.array([[-1.0, 0.0], [1.0, 0.0]]),
        move="redraw",
        pace=0.1,
        noise=0.35,
        capacity=(0.0, 8.0),
        reference=1.1,
    )


def three_states():
    """Folded, intermediate, unfolded by formula, each with a heat capacity of its own."""
    return System(
        "three states",
        log_degeneracy=np.array([0.0, 4.2, 9.0]),
        energy=np.array([0.0, 4.5, 9.5]),
        state=np.arange(3),
        features=np.array([[-1.5, 0.0, 0.5], [0.0, 1.2, 0.0], [1.5, 0.0, -0.5]]),
        move="redraw",
        pace=0.15,
        noise=0.4,
        capacity=(0.0, 3.0, 6.0),
        reference=1.0,
    )


@lru_cache
def double_well():
    """A particle in an uneven double well; modes harmonic on the left and quartic on the right.

    The sixteen modes that no feature shows hold k_B / 2 each on the left and k_B / 4 on the right.
    """
    edges = np.linspace(-2.1, 2.2, 61)
    x = (edges[1:] + edges[:-1]) / 2
    grid = np.arange(len(x))
    return System(
        "double well",
        log_degeneracy=np.where(x > 0, 0.9, 0.0),
        energy=2.2 * (x**2 - 1) ** 2 + 0.8 * x,
        state=(x > 0).astype(int),
        features=x[:, None],
        move="hop",
        pace=150.0,
        bonds=np.column_stack([grid[:-1], grid[1:]]),
        noise=0.02,
        capacity=(8.0, 4.0),
        reference=0.9,
    )


@lru_cache
def three_wells():
    """Three wells of different widths in a plane; the features are the coordinates."""
    axis = np.linspace(-2.2, 2.2, 23)
    x, y = (part.ravel() for part in np.meshgrid(axis, axis, indexing="ij"))
    wells = np.array(
        [
            depth * np.exp(-((x - a) ** 2 + (y - b) ** 2) / width)
            for depth, a, b, width in ((4.6, -1.1, -0.4, 0.35), (4.0, 1.1, -0.7, 0.6),
                                       (3.6, 0.2, 1.1, 0.9))
        ]
    )  # fmt: skip
    number = np.arange(len(x)).reshape(len(axis), -1)
    return System(
        "three wells",
        log_degeneracy=np.zeros(len(x)),
        energy=0.12 * (x**4 + y**4) - wells.sum(axis=0),
        state=wells.argmax(axis=0),
        features=np.column_stack([x, y]),
        move="hop",
        pace=60.0,
        bonds=np.vstack(
            [
                np.column_stack([number[:-1].ravel(), number[1:].ravel()]),
                np.column_stack([number[:, :-1].ravel(), number[:, 1:].ravel()]),
            ]
        ),
        noise=0.05,
    )


def bits(n_spins):
    """Return all patterns of n spins, shape (2^n, n); spin k is bit k of the row's number."""
    return (np.arange(2**n_spins)[:, None] >> np.arange(n_spins)) & 1


HELIX = {"length": 14, "energy": 1.1, "entropy": 1.0, "nucleation": 2.5}


@lru_cache
def helix_coil():
    """A helix and a coil: Zimm and Bragg's chain, every pattern of its residues."""
    helical = bits(HELIX["length"])
    n = helical.sum(axis=1)
    segments = helical[:, 0] + ((helical[:, 1:] == 1) & (helical[:, :-1] == 0)).sum(axis=1)
    half = helical[:, : HELIX["length"] // 2].sum(axis=1)
    return System(
        "helix and coil",
        log_degeneracy=-HELIX["entropy"] * n - HELIX["nucleation"] * segments,
        energy=-HELIX["energy"] * n,
        state=(n < HELIX["length"] / 2).astype(int),
        features=np.column_stack([n, segments, half]).astype(float),
        move="flip",
        pace=HELIX["length"],
    )


@lru_cache
def magnet():
    """Twelve Ising spins on a torus in a field; the feature is the magnetisation alone.

    At one magnetisation the energy still fluctuates, so a heat capacity is hidden in it.
    """
    spins = 2 * bits(12).reshape(-1, 3, 4) - 1
    energy = -sum((spins * np.roll(spins, 1, axis=axis)).sum(axis=(1, 2)) for axis in (1, 2))
    m = spins.sum(axis=(1, 2))
    return System(
        "magnet",
        log_degeneracy=-0.05 * m,  # down has more room
        energy=energy - 0.15 * m,
        state=np.where(m >= 4, 0, np.where(m <= -4, 1, 2)),
        features=m[:, None].astype(float),
        move="flip",
        pace=24,
    )


SEQUENCE = "HPHPPHHPHPPH"


@lru_cache
def lattice_polymer():
    """A chain of H and P on a square lattice: every self-avoiding walk but for symmetry."""
    walks = np.array(list(self_avoiding(len(SEQUENCE))))
    distances = np.abs(walks[:, :, None] - walks[:, None]).sum(axis=-1)
    i, j = np.triu_indices(len(SEQUENCE), 3)
    touching = distances[:, i, j] == 1
    sticky = np.array([SEQUENCE[a] + SEQUENCE[b] == "HH" for a, b in zip(i, j, strict=True)])
    contacts = touching[:, sticky].sum(axis=1)
    radius = walks.var(axis=1).sum(axis=1)
    end = ((walks[:, -1] - walks[:, 0]) ** 2).sum(axis=1)
    return System(
        "lattice polymer",
        log_degeneracy=np.zeros(len(walks)),
        energy=-1.0 * contacts,
        state=(contacts < 3).astype(int),
        features=np.column_stack([contacts, touching.sum(axis=1), radius, np.sqrt(end)]),
        move="redraw",
        pace=0.1,
        noise=0.05,
    )


def self_avoiding(length):
    """Yield self-avoiding walks of so many sites; the first step and the first turn are fixed."""
    steps = ((1, 0), (0, 1), (-1, 0), (0, -1))
    unfinished = [((0, 0), (1, 0))]
    while unfinished:
        walk = unfinished.pop()
        if len(walk) == length:
            yield walk
            continue
        straight = all(y == 0 for _, y in walk)
        for dx, dy in steps:
            site = (walk[-1][0] + dx, walk[-1][1] + dy)
            if site not in walk and not (straight and dy < 0):
                unfinished.append((*walk, site))
