"""How often does the doctor warn of data, or fail data, that nothing is wrong with?

    python benchmarks/doctor.py                # 9 systems, 20 repeats each, about 10 min

Systems of exact.py with forty modes at 300 and 450 K, twenty walkers each, and the simulators that
ship. Walkers start in equilibrium, and cross often where they are long.
"""

import mistaken
import numpy as np
import pandas as pd
import results

import latflow
from latflow.datasets import make_lj7, make_three_hole

LAGTIME, N_REPEATS = 5, 20
LENGTHS = (200, 1000)  # frames of a walker
SHIPPED = {make_three_hole: (0.8, 1.4), make_lj7: (0.3, 0.5)}


def of_exact(make, n_frames, seed):
    """Return arguments of diagnose: a system of exact.py."""
    X, energy = mistaken.simulated(make, n_frames, seed)
    temperature = np.repeat(mistaken.KELVIN, mistaken.N_WALKERS).tolist()
    return X, {"temperature": temperature, "energy": list(energy.reshape(len(X), -1))}


def of_simulator(make, n_frames, seed):
    """Return arguments of diagnose: a simulator that ships, in reduced units."""
    walkers = mistaken.N_WALKERS
    parts = [
        make(walkers * n_frames, temperature=t, n_walkers=walkers, random_state=2 * seed + k)
        for k, t in enumerate(SHIPPED[make])
    ]
    return [x for part in parts for x in part.trajectories], {
        "temperature": [t for part in parts for t in part.temperature],
        "energy": [u for part in parts for u in part.energies],
        "boltzmann_constant": 1.0,
    }


def run(args):
    """Count warnings and failures of each check, by the length of the walkers."""
    systems = [(of_exact, make) for make in mistaken.MIDDLE]
    systems += [(of_simulator, make) for make in SHIPPED]
    tables = []
    for n_frames in args.lengths:
        verdicts = []
        for data_of, make in systems:
            for seed in range(args.repeats):
                X, known = data_of(make, n_frames, 5000 + seed)
                found = latflow.diagnose(X, lagtime=LAGTIME, **known).table["verdict"]
                verdicts.append(found)
                if (found == "fail").any():
                    print(make.__name__, n_frames, seed, found[found == "fail"].index.tolist())
        counts = pd.DataFrame(verdicts)
        told = {v: [f"{k} of {len(counts)}" for k in (counts == v).sum()] for v in ("warn", "fail")}
        columns = {f"{n_frames} frames, {verdict}": cells for verdict, cells in told.items()}
        tables.append(pd.DataFrame(columns, index=pd.Index(counts.columns, name="check")))
    yield results.Result("doctor", "python benchmarks/doctor.py", pd.concat(tables, axis=1))


if __name__ == "__main__":
    parser = results.options(__doc__)
    parser.add_argument("--repeats", type=int, default=N_REPEATS)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    results.publish(parser, run)
