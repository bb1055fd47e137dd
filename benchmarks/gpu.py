"""Does a GPU pay, and does it answer the same? Fits on each device, in seconds of the clock.

    python benchmarks/gpu.py --write                    # where there is a GPU: about ten minutes
    python benchmarks/gpu.py --devices cpu --frames 1000 --lj7-frames 500 --max-iter 10

fits    LJ7 (LaTF; LaTF and extrapolator with bootstraps; eight seeds), large batches, frames of 50
        features, wide features: seconds on each device, and which one device="auto" takes
steps   milliseconds a step of each stage, by device and batch
same    two fits of one seed on each device, a model that was saved there and loaded, and by how
        much populations differ from those of the processor

Each fit comes after a short one that is dropped, which loads libraries and kernels. One thread of
the processor. The tests that need a GPU are those of tests/test_device.py.
"""

import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import results
import torch
from fit_speed import spent_by_stage
from simulations import SYSTEMS, planted

from latflow import LaTFEstimator, TemperatureExtrapolator, load, save

WARM = 20  # steps of the fit that is dropped
TEMPERATURES = (0.8, 1.2)


def now():
    """Return the clock once a GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds(fit):
    """Return seconds of a call by the clock."""
    start = now()
    fit()
    return now() - start


def latent(args, device, **options):
    """Return an unfitted LaTFEstimator for a device."""
    steps = {"max_iter": args.max_iter} if args.max_iter else {}
    common = {"boltzmann_constant": 1.0, "random_state": 0}
    return LaTFEstimator(1, device=device, **common | steps | options)


def extrapolator(args, device, **options):
    """Return an unfitted extrapolator for a device."""
    steps = {"max_iter": args.max_iter} if args.max_iter else {}
    return TemperatureExtrapolator(
        latent(args, device, **options), n_bootstraps=args.bootstraps, random_state=0, **steps
    )


def lj7(args):
    """Return X and temperature of LJ7."""
    data = SYSTEMS["lj7"].simulate(args.lj7_frames)
    return data["trajectories"], data["temperature"]


def wide(n_frames, n_features):
    """Return X and temperature of planted signals, half of the frames at each of two."""
    half = n_frames // 2
    parts = [planted(half, n_features, t, seed) for seed, t in enumerate(TEMPERATURES)]
    return parts, list(TEMPERATURES)


def cases(args):
    """Yield names, functions that return the data, makers of a model, and its options."""
    one = partial(lj7, args)
    yield "LJ7, LaTF", one, latent, {}
    yield f"LJ7, {args.bootstraps} bootstraps", one, extrapolator, {}
    yield "LJ7, LaTF, eight seeds", one, latent, {"n_init": 8}
    yield "LJ7, LaTF, batch 8192", one, latent, {"batch_size": 8192}
    for n in args.frames:
        yield f"{n:,} frames x 50 features", partial(wide, n, 50), latent, {}
    for n in args.features:
        yield f"{args.wide_frames:,} x {n:,}", partial(wide, args.wide_frames, n), latent, {}


def run_fits(args):
    """Yield seconds of whole fits on each device."""
    lines = {}
    for name, data, make, options in cases(args):
        X, temperature = data()
        lines[name] = {}
        for device in args.devices:
            short = args.max_iter or WARM
            make(args, device, **options | {"max_iter": short}).fit(X, temperature=temperature)
            model = make(args, device, **options)
            lines[name][device] = seconds(partial(model.fit, X, temperature=temperature))
        n_features = np.shape(X[0])[1]
        lines[name]["auto"] = latent(args, "auto", **options)._device(n_features).type
    table = pd.DataFrame(lines).T.rename_axis("fit")
    table[args.devices] = table[args.devices].astype(float).round(2)
    yield results.Result("gpu_fits", title("Seconds by the clock", args), table)


def run_steps(args):
    """Yield milliseconds a step of every stage, by device and batch."""
    X, temperature = lj7(args)
    columns = {}
    for device in args.devices:
        for batch in args.batches:
            model = extrapolator(args, device, batch_size=batch)
            fit = partial(model.fit, X, temperature=temperature)
            fit()
            table = spent_by_stage(fit, lambda: np.array([now(), 0.0, 0.0]))
            columns[f"{device}, batch {batch}"] = 1e3 * table.seconds / table.steps
    table = pd.DataFrame(columns).replace(np.inf, np.nan).dropna().drop("whole fit")
    about = title("LJ7: milliseconds a step by the clock", args)
    yield results.Result("gpu_steps", about, table.round(2).rename_axis("stage"))


def answers(model, X):
    """Return variables of frames, populations and samples, as one array."""
    numbers = [np.concatenate(model.transform(X)), model.state_populations([0.3]).to_numpy()]
    numbers.append(model.sample(100, temperature=0.3, random_state=0))
    return np.concatenate([np.ravel(part) for part in numbers])


def off(model, other, X):
    """Return the largest difference of populations of the states of one model."""
    labels = np.concatenate(model.predict(X)), np.concatenate(other.predict(X))
    shares = [np.sort(np.bincount(own, minlength=10) / len(own)) for own in labels]
    return float(np.abs(shares[0] - shares[1]).max())


def run_same(args):
    """Yield whether fits repeat, whether saved models answer the same, and how devices differ."""
    X, temperature = lj7(args)
    lines, processor = {}, extrapolator(args, "cpu").fit(X, temperature=temperature)
    for device in args.devices:
        first, second = (
            extrapolator(args, device).fit(X, temperature=temperature) for _ in range(2)
        )
        with tempfile.TemporaryDirectory() as folder:
            save(first, Path(folder) / "model.latflow")
            again = load(Path(folder) / "model.latflow")
        mine = answers(first, X)
        lines[device] = {
            "two fits equal to the bit": np.array_equal(mine, answers(second, X)),
            "loaded equal to the bit": np.array_equal(mine, answers(again, X)),
            "populations off the processor's": round(off(processor, first, X), 4),
        }
    table = pd.DataFrame(lines).T.rename_axis("device")
    yield results.Result("gpu_same", title("LJ7: the same answers", args), table)


def title(about, args):
    """Return a title that names the GPU."""
    names = {d: torch.cuda.get_device_name(d) for d in args.devices if d.startswith("cuda")}
    return f"{about}; {', '.join(names.values()) or 'no GPU'}"


TABLES = {"fits": run_fits, "steps": run_steps, "same": run_same}


if __name__ == "__main__":
    parser = results.options(__doc__)
    results.add_tables(parser, TABLES)
    every = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    parser.add_argument("--devices", nargs="+", default=every)
    parser.add_argument("--lj7-frames", type=int, default=50_000, help="a temperature")
    parser.add_argument("--frames", type=int, nargs="+", default=[10**6, 10**7])
    parser.add_argument("--features", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--wide-frames", type=int, default=10_000)
    parser.add_argument("--batches", type=int, nargs="+", default=[1024, 8192])
    parser.add_argument("--bootstraps", type=int, default=20)
    parser.add_argument("--max-iter", type=int, help="of both estimators; their own if not given")
    results.publish(parser, TABLES)
