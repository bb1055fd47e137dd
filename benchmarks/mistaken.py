"""Are temperatures that energies contradict noticed, and right ones left alone?

    python benchmarks/mistaken.py              # 7 systems, 20 repeats each, about 3 min

Systems of exact.py with forty modes are simulated at 300 and 450 K, twenty walkers each, and named
rightly, with 310 for 300 K, with 460 for 450 K, and swapped.
"""

from dataclasses import replace

import exact
import numpy as np
import pandas as pd
import results

from latflow.thermodynamics import Pool
from latflow.thermodynamics.gaps import energy_gaps
from latflow.units import Units

KELVIN = (300.0, 450.0)
NAMED = {
    "right": KELVIN, "310 for 300 K": (310.0, 450.0), "460 for 450 K": (300.0, 460.0),
    "swapped": (450.0, 300.0),
}  # fmt: skip
N_WALKERS, N_MODES, N_REPEATS = 20, 40, 20
LENGTHS = (100, 1000)  # frames of a walker
MIDDLE = {  # temperature of each system that 375 K stands for
    exact.two_states: 1.0, exact.three_states: 1.0, exact.double_well: 1.0,
    exact.three_wells: 0.8, exact.helix_coil: 1.0, exact.magnet: 2.6, exact.lattice_polymer: 0.5,
}  # fmt: skip


def simulated(make, n_frames, seed, n_modes=N_MODES):
    """Return features of every walker, and energies in kJ/mol, a row a temperature."""
    system, rng = replace(make(), n_modes=n_modes), np.random.default_rng(seed)
    unit, X, energy = MIDDLE[make] / 375, [], []
    for kelvin in KELVIN:
        cells = system.walk(kelvin * unit, N_WALKERS, n_frames, rng)
        _, bath = system.modes(system.state[cells], rng)
        energies = system.energies(cells, kelvin * unit, bath)
        energy.append(Units().boltzmann_constant / unit * energies)
        X += [x + 1e-6 * rng.standard_normal(x.shape) for x in system.seen(cells, rng)]
    return X, np.stack(energy)


def gap_of(energy, temperatures):
    """Return what energies say of the temperatures that were named for their rows."""
    n, named = energy[0].size, np.sort(temperatures)
    origin = np.repeat(np.argsort(np.argsort(temperatures)), n)
    blocks = np.tile(np.repeat(np.arange(N_WALKERS), n // N_WALKERS), 2)
    pool = Pool(Units().betas(named), origin, np.ones(2 * n), blocks)
    (gap,) = energy_gaps(energy.ravel(), pool, named)
    return gap


def run(args):
    """Count how often each way of naming was told."""
    rows = []
    for n_frames in args.lengths:
        told = dict.fromkeys(NAMED, 0)
        for make in MIDDLE:
            for seed in range(args.repeats):
                _, energy = simulated(make, n_frames, 1000 + seed)
                for name, temperatures in NAMED.items():
                    gap = gap_of(energy, temperatures)
                    told[name] += gap.mistaken or gap.swapped
        n = len(MIDDLE) * args.repeats
        counts = {f"told: {name}": f"{k} of {n}" for name, k in told.items()}
        rows.append({"frames a temperature": n_frames * N_WALKERS} | counts)
    table = pd.DataFrame(rows).set_index("frames a temperature")
    yield results.Result("mistaken", "python benchmarks/mistaken.py", table)


if __name__ == "__main__":
    parser = results.options(__doc__)
    parser.add_argument("--repeats", type=int, default=N_REPEATS)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    results.publish(parser, run)
