"""LJ13: melting and heat capacity from two simulated temperatures, against parallel tempering.

    python benchmarks/lj13.py                          # with a tempering of its own, about 30 min
    python benchmarks/lj13.py --save lj13.npz          # keep the tempering
    python benchmarks/lj13.py --reference lj13.npz     # take one that was kept

Thirteen Lennard-Jones particles in three dimensions (reduced units; a wall of 50 (r - 2)^2, so of
stiffness 100, beyond 2 from the centre of mass). The truth is parallel tempering, in independent
ladders of which half start from the icosahedron and half from a hot liquid, and MBAR over all of a
ladder's temperatures. The package gets continuous Langevin runs at T = 0.25 and 0.34 with their
potential energies. Heat capacities are the configurational var(U) / T^2; the kinetic part, 39/2,
is the same in all columns and left out. One thread.
"""

from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import results
from scipy.interpolate import CubicHermiteSpline

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.thermodynamics import Ensemble, heat_capacity, state_moments

N_PARTICLES = 13
FIRST, SECOND = np.triu_indices(N_PARTICLES, 1)
N_PAIRS = len(FIRST)
SIGNS = np.zeros((N_PAIRS, N_PARTICLES))  # of the two particles in each pair
SIGNS[range(N_PAIRS), FIRST], SIGNS[range(N_PAIRS), SECOND] = 1, -1
# To the vectors of pairs and those from the centre of mass
TO_VECTORS = np.concatenate([SIGNS, np.eye(N_PARTICLES) - 1 / N_PARTICLES])
WALL_RADIUS, WALL_STIFFNESS = 2.0, 100.0
COORDINATION_LENGTH = 1.5
SIMULATED = (0.25, 0.34)
LADDER = np.geomspace(0.2, 0.45, 14)
GRID = np.linspace(0.22, 0.42, 201)  # where the truth's melting and peak are sought
BETWEEN = np.linspace(0.25, 0.34, 46)  # where the answers' peak is sought
JUDGED = slice(None, None, 5)
TIME_STEP, FRICTION = 0.01, 1.0
SWAP_STRIDE, SWAPS_A_FRAME = 50, 4
HOT, HEATING, SETTLING = 1.0, 20.0, 200.0  # before the first frame; a relaxation takes about 10
MELTING, PEAK = "T_m", "T of the peak"


def icosahedron():
    """Return the ground state, one particle amid twelve, shape (13, 3)."""
    golden = (1 + np.sqrt(5)) / 2
    corners = [(0, s, t * golden) for s in (-1, 1) for t in (-1, 1)]
    shell = np.array([np.roll(corner, k) for corner in corners for k in range(3)])
    return np.concatenate([np.zeros((1, 3)), 1.08 * shell / np.linalg.norm(shell[0])])


def squared_distances(coordinates):
    """Return squared distances of the 78 pairs, (n_frames, 78), from (n_frames, 13, 3)."""
    return np.square(coordinates[:, FIRST] - coordinates[:, SECOND]).sum(axis=-1)


def coordination_numbers(coordinates):
    """Return coordination numbers 1 / (1 + (r / 1.5)^8), summed, ascending, (n_frames, 13)."""
    squared = squared_distances(coordinates) / COORDINATION_LENGTH**2
    return np.sort(1 / (1 + squared**4) @ abs(SIGNS), axis=1)


def energies(coordinates):
    """Return the potential energy of pairs and wall, (n_frames,)."""
    attraction = squared_distances(coordinates) ** -3
    centred = coordinates - coordinates.mean(axis=1, keepdims=True)
    beyond = np.maximum(np.linalg.norm(centred, axis=-1) - WALL_RADIUS, 0)
    pairs = 4 * (attraction**2 - attraction).sum(axis=1)
    return pairs + 0.5 * WALL_STIFFNESS * np.square(beyond).sum(axis=1)


def forces(positions):
    """Return the forces on all walkers' particles, (13, 3 n_walkers): all x, all y, all z."""
    vectors = (TO_VECTORS.astype(positions.dtype) @ positions).reshape(len(TO_VECTORS), 3, -1)
    squared = np.einsum("pdw,pdw->pw", vectors, vectors)
    inverse = 1 / squared[:N_PAIRS]
    attraction = inverse * inverse * inverse
    squared[:N_PAIRS] = inverse * attraction * (48 * attraction - 24)
    beyond = np.sqrt(np.maximum(squared[N_PAIRS:], WALL_RADIUS**2))
    squared[N_PAIRS:] = WALL_STIFFNESS * WALL_RADIUS / beyond - WALL_STIFFNESS
    vectors *= squared[:, None]
    to_particles = np.ascontiguousarray(TO_VECTORS.T, dtype=positions.dtype)
    return to_particles @ vectors.reshape(len(vectors), -1)


class Langevin:
    """BAOAB dynamics of independent clusters of unit mass, each at a temperature of its own."""

    def __init__(self, temperatures, *, time_step, friction, seed):
        self.temperatures = np.array(temperatures, np.float32)
        self.positions = np.repeat(icosahedron(), len(temperatures), axis=1).astype(np.float32)
        self.time_step, self.friction = time_step, friction
        self.generator = np.random.default_rng(seed)
        self.velocities = np.tile(np.sqrt(self.temperatures), 3) * self._noise()

    def _noise(self):
        return self.generator.standard_normal(self.positions.shape, np.float32)

    def advance(self, n_steps):
        """Make steps; whole kicks in between, half a one at either end."""
        half = np.float32(self.time_step / 2)
        memory = np.float32(np.exp(-self.friction * self.time_step))
        thermal = np.tile(np.sqrt(self.temperatures * (1 - memory**2)), 3)
        positions, velocities = self.positions, self.velocities
        velocities += half * forces(positions)
        for step in range(n_steps):
            if step:
                velocities += 2 * half * forces(positions)
            positions += half * velocities
            velocities *= memory
            velocities += thermal * self._noise()
            positions += half * velocities
        velocities += half * forces(positions)
        positions -= positions.mean(axis=0)

    def coordinates(self):
        """Return the particles' positions, (n_walkers, 13, 3)."""
        return self.positions.reshape(N_PARTICLES, 3, -1).transpose(2, 0, 1).astype(np.float64)

    def set_temperatures(self, temperatures):
        """Give each cluster another temperature; its velocities are scaled with it."""
        temperatures = np.array(temperatures, np.float32)
        self.velocities *= np.tile(np.sqrt(temperatures / self.temperatures), 3)
        self.temperatures = temperatures


class Simulation(NamedTuple):
    """Temperatures (n_temperatures,), energies (n_walkers, n_temperatures, n_frames) and features.

    The features, coordination numbers, have one axis more. Frames of a temperature follow
    each other in time, also where the clusters change places between temperatures.
    """

    temperatures: np.ndarray
    energies: np.ndarray
    features: np.ndarray

    def arguments(self):
        """Return the arguments of `fit`, one trajectory a walker and temperature."""
        n_walkers, _, n_frames, n_features = self.features.shape
        return {
            "X": list(self.features.reshape(-1, n_frames, n_features).astype(float)),
            "temperature": list(np.tile(self.temperatures, n_walkers)),
            "energy": list(self.energies.reshape(-1, n_frames)),
        }


def simulated(clusters, temperatures, n_frames, move):
    """Return frames, each after a `move`.

    `move` returns where the cluster of each walker and temperature is, (n_walkers, n_temperatures).
    """
    frames = []
    for _ in range(n_frames):
        order = move()
        coordinates = clusters.coordinates()[order.ravel()]
        columns = [energies(coordinates)[:, None], coordination_numbers(coordinates)]
        frames.append(np.hstack(columns).reshape(*order.shape, -1).astype(np.float32))
    columns = np.moveaxis(np.array(frames), 0, 2)
    return Simulation(np.array(temperatures), columns[..., 0].astype(float), columns[..., 1:])


def prepared(temperatures, n_walkers, seed):
    """Return clusters, walker by walker, every other of these molten before."""
    each = np.tile(temperatures, n_walkers)
    molten = np.repeat(np.arange(n_walkers) % 2 == 1, len(temperatures))
    start = np.where(molten, HOT, each)
    clusters = Langevin(start, time_step=TIME_STEP, friction=FRICTION, seed=seed)
    clusters.advance(round(HEATING / TIME_STEP))
    clusters.set_temperatures(each)
    return clusters


def continuous(n_frames, n_walkers, stride, seed, temperatures=SIMULATED):
    """Return runs of walkers that stay at their temperature, n_frames at each temperature."""
    clusters = prepared(temperatures, n_walkers, seed)
    clusters.advance(round(SETTLING / TIME_STEP))
    order = np.arange(n_walkers * len(temperatures)).reshape(n_walkers, -1)

    def move():
        clusters.advance(stride)
        return order

    return simulated(clusters, temperatures, n_frames // n_walkers, move)


def tempering(n_frames, n_ladders, seed, temperatures=LADDER):
    """Return parallel tempering in independent ladders, n_frames at each temperature of each."""
    clusters = prepared(temperatures, n_ladders, seed)
    order = np.arange(n_ladders * len(temperatures)).reshape(n_ladders, -1)
    generator, parity = np.random.default_rng([seed, 1]), cycle((0, 1))

    def move(n_swaps=SWAPS_A_FRAME):
        for _ in range(n_swaps):
            clusters.advance(SWAP_STRIDE)
            swap(energies(clusters.coordinates()), 1 / temperatures, order, next(parity), generator)
            each = np.empty(order.size)
            each[order] = temperatures
            clusters.set_temperatures(each)
        return order

    move(round(SETTLING / TIME_STEP / SWAP_STRIDE))
    return simulated(clusters, temperatures, n_frames, move)


def swap(potential, betas, order, first, generator):
    """Exchange temperatures first and first + 1, first + 2 and first + 3, ... of each ladder.

    `order` (n_ladders, n_temperatures) holds the place in `potential` of the cluster at each
    temperature and is changed in place.
    """
    low = np.arange(first, len(betas) - 1, 2)
    gain = np.diff(betas)[low] * np.diff(potential[order], axis=1)[:, low]
    ladder, pair = np.nonzero(np.log(generator.random(gain.shape)) < gain)
    left, right = (ladder, low[pair]), (ladder, low[pair] + 1)
    order[left], order[right] = order[right], order[left]


class Curve(NamedTuple):
    """A function of the temperature on GRID, of each independent ladder."""

    values: np.ndarray

    def at(self, temperatures):
        """Return means and standard errors at temperatures."""
        each = np.array([np.interp(temperatures, GRID, values) for values in self.values])
        return each.mean(axis=0), each.std(axis=0, ddof=1) / np.sqrt(len(each))

    def jackknife(self, place):
        """Return a feature of the mean curve, and its standard error by leaving ladders out."""
        n = len(self.values)
        without = (self.values.sum(axis=0) - self.values) / (n - 1)
        error = np.sqrt((n - 1) * np.var([place(GRID, values) for values in without]))
        return place(GRID, self.values.mean(axis=0)), error


def peak(temperatures, values):
    """Return where a curve is highest, by a parabola through three neighbours."""
    k = np.clip(np.argmax(values), 1, len(values) - 2)
    left, middle, right = values[k - 1 : k + 2]
    shift = (left - right) / (left - 2 * middle + right) / 2
    return float(temperatures[k] + shift * (temperatures[1] - temperatures[0]))


def half(temperatures, values):
    """Return where a falling curve is one half."""
    return float(np.interp(-0.5, -values, temperatures))


def mbar(data, states):
    """Return an ensemble that weighs the frames of simulations by their energies."""
    arguments = data.arguments()
    return Ensemble(
        arguments["energy"], arguments["temperature"], states=states, boltzmann_constant=1.0
    )


def mbar_heat_capacity(ensemble, temperatures):
    """Return heat capacities and their standard errors by an ensemble's energies."""
    states, values = np.zeros(len(ensemble.pool), int), []
    for t in temperatures:
        moments = state_moments(ensemble.answer.at(1 / t), states, 1)
        values.append(heat_capacity(moments, t, ensemble.units))
    return np.transpose(values)


class Truth:
    """A parallel tempering and MBAR over each of its ladders."""

    def __init__(self, reference):
        self.features = reference.features.reshape(-1, N_PARTICLES)
        self.energies = reference.energies.reshape(len(reference.energies), -1)
        temperatures = list(reference.temperatures)
        self.ensembles = [
            Ensemble(list(ladder), temperatures, boltzmann_constant=1.0)
            for ladder in reference.energies
        ]
        mean, square = self.expectation(self.energies), self.expectation(self.energies**2)
        self.heat_capacity = Curve((square - mean**2) / GRID**2)

    def expectation(self, values):
        """Return the expectation of (n_ladders, n_frames) on GRID, of each ladder."""
        pairs = zip(self.ensembles, values, strict=True)
        return np.array([[e.at(t).weights @ column for t in GRID] for e, column in pairs])

    def population(self, model, state):
        """Return the population of a state of a model that has `predict`."""
        member = model.predict(self.features) == state
        return Curve(self.expectation(member.reshape(self.energies.shape)))


def by_hand(model, data, temperatures):
    """Return the heat capacity of the model's states together, sum p C + var(U) / T^2.

    Each state's mean energy U is the cubic in the inverse temperature through its own means at the
    two simulated temperatures with the slopes -var(U) there; the populations p are the model's.
    """
    betas, beta = 1 / data.temperatures[::-1], 1 / temperatures
    p = model.state_populations(temperatures).population.unstack().to_numpy().T
    energy, capacity = np.empty_like(p), np.empty_like(p)
    labels = np.reshape(model.labels_, data.energies.shape)
    for state in range(model.n_states_):
        frames = [data.energies[:, k][labels[:, k] == state] for k in (1, 0)]
        means, slopes = [u.mean() for u in frames], [-u.var() for u in frames]
        cubic = CubicHermiteSpline(betas, means, slopes)
        energy[state], capacity[state] = cubic(beta), -(beta**2) * cubic(beta, 1)
    between = (p * energy**2).sum(axis=0) - (p * energy).sum(axis=0) ** 2
    return np.array([(p * capacity).sum(axis=0) + between * beta**2, np.full(len(beta), np.nan)])


def by_model(model, temperatures):
    """Return the extrapolator's own heat capacities and their standard errors."""
    table = model.whole_system(temperatures)
    return table[["heat_capacity", "heat_capacity_error"]].to_numpy().T


def fit(data, args, seed):
    """Return the extrapolator of two continuous runs with their energies."""
    latf = LaTFEstimator(
        lagtime=args.lagtime, encoder="linear", boltzmann_constant=1.0, random_state=seed
    )
    model = TemperatureExtrapolator(
        latf, n_bootstraps=args.bootstraps, max_iter=args.max_iter, random_state=seed
    )
    return model.fit(**data.arguments())


def judge(data, truth, args, seed):
    """Return a record a question and way to answer it, for one pair of simulations."""
    model = fit(data, args, seed)
    solid = int(model.state_populations(SIMULATED[0]).population.to_numpy().argmax())
    melting = truth.population(model, solid).jackknife(half)
    yardstick = mbar(data, model.labels_)
    curves = {
        "MBAR": mbar_heat_capacity(yardstick, BETWEEN),
        "by hand": by_hand(model, data, BETWEEN),
    }
    curves = {"latflow": by_model(model, BETWEEN)} | curves
    rows = [
        (MELTING, "latflow", melting, model.melting_temperature(solid)[:2]),
        (MELTING, "MBAR", melting, yardstick.melting_temperature(solid)[:2]),
    ]
    highest, known = truth.heat_capacity.jackknife(peak), truth.heat_capacity.at(BETWEEN)
    for name, curve in curves.items():
        rows.append((PEAK, name, highest, (peak(BETWEEN, curve[0]), np.nan)))
        columns = BETWEEN, np.transpose(known), np.transpose(curve)
        for t, true, value in zip(*(column[JUDGED] for column in columns), strict=True):
            rows.append((f"{t:.2f}", name, true, value))
    return [
        {"question": question, "answer": name, "truth": true, "its error": true_error}
        | {"value": value, "s.e.": error, "off, %": 100 * (value / true - 1)}
        for question, name, (true, true_error), (value, error) in rows
    ]


def summarise(records):
    """Return a line a question and answer: means over the repeats, and errors in per cent."""
    groups = pd.DataFrame(records).groupby(["question", "answer"], sort=False)
    table = groups[["truth", "its error", "value", "s.e."]].mean()
    off = groups["off, %"]
    table["rms off, %"] = off.apply(lambda x: np.sqrt((x**2).mean())).round(2)
    table["largest off, %"] = off.apply(lambda x: x.abs().max()).round(2)
    return table


def run(args):
    """Judge answers from two temperatures by parallel tempering."""
    if args.reference:
        with np.load(args.reference) as kept:
            reference = Simulation(**kept)
    else:
        reference = tempering(args.reference_frames, args.ladders, 0)
    if args.save:
        np.savez(args.save, **reference._asdict())
    truth = Truth(reference)
    records = []
    for k in range(args.repeats):
        data = continuous(args.frames, args.walkers, args.stride, 100 + k)
        records += judge(data, truth, args, seed=k)
    table = summarise(records)
    about = f"LJ13 from T = 0.25 and 0.34, {args.frames} frames each, {args.repeats} repeat(s)"
    places = table.loc[[MELTING, PEAK]].round(4)
    yield results.Result("lj13", f"{about}: melting and the peak of C_v", places, gaps=True)
    capacities = table.drop([MELTING, PEAK]).rename_axis(["T", "answer"]).round(2)
    columns = capacities[["truth", "its error"]].groupby("T").first().to_dict("series")
    for answer, lines in capacities.groupby("answer", sort=False):
        for column in ("value", "rms off, %", "largest off, %"):
            columns[f"{answer}: {column}"] = lines[column].droplevel("answer")
    capacities = pd.DataFrame(columns)
    yield results.Result("lj13_heat_capacity", f"{about}: C_v", capacities)


if __name__ == "__main__":
    parser = results.options(__doc__)
    parser.add_argument("--reference", type=Path, help="a tempering that --save kept")
    parser.add_argument("--save", type=Path, help="keep the tempering")
    parser.add_argument("--reference-frames", type=int, default=10_000, help="of each ladder")
    parser.add_argument("--ladders", type=int, default=12)
    parser.add_argument("--frames", type=int, default=100_000, help="a simulated temperature")
    parser.add_argument("--stride", type=int, default=500, help="steps of 0.01 between frames")
    parser.add_argument("--walkers", type=int, default=20, help="trajectories a temperature")
    parser.add_argument("--lagtime", type=int, default=1)
    parser.add_argument("--bootstraps", type=int, default=20)
    parser.add_argument("--max-iter", type=int, default=1, help="of the generator, not asked here")
    parser.add_argument("--repeats", type=int, default=3)
    results.publish(parser, run)
