"""What a fit costs, stage by stage, beside the arithmetic limit; and its flows beside peers'.

    python benchmarks/fit_speed.py                          # all tables, about ten minutes
    python benchmarks/fit_speed.py --tables flows --repeats 50
    python benchmarks/fit_speed.py --tables bootstraps --checkout FOLDER   # beside another commit

stages  a whole fit (LaTF, h, generator) of LJ7 and of the three-hole potential. The limit is the
        operations of the fit over the rate of a large float32 matrix product in this run; an
        operation is a multiplication or addition in a matrix product, or one number written by
        anything else in torch (k-means, TICA and the frames' weights are numpy's and not seen)
operations  where a training step's time goes, of LJ7, by kind of operation (torch's profiler, whose
        own share makes a step slower than it is: compare columns)
bootstraps  the same fit with bootstraps and without, and that of another checkout: each fit in a
        new process, in turn, after a short one
flows   a training step and a sample of equal couplings: latflow, zuko and normflows

Processor time, one thread; medians of repeats that take turns. Peers come with the extra `bench`;
one that is not installed is left out.
"""

import importlib.util
import sys
import time
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import results
import torch
from clock import in_child, in_turn, timed
from simulations import SYSTEMS
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.nn import flows

WIDTHS = (32, 32)
N_TRANSFORMS = 4
MINIMISE = "minimise"  # trains a stage; the others do no training
METERED = {
    "initial labels": "initial_labels",
    "ridges and orders of h": "_chosen",
    "last layer of h": "_solved",
    "bootstraps of h": "_redrawn",
    "free energies between temperatures": "free_energy_offsets",
    "draws for the generator": "weighted_draws",
}


def installed(name):
    """Name a peer and its version, or say that it is left out."""
    if importlib.util.find_spec(name) is None:
        print(f"{name} is not installed and left out: pip install 'latflow[bench]'")
        return False
    print(f"{name} {version(name)}")
    return True


# ---------------------------------------------------------------------------- stages


class Operations(TorchDispatchMode):
    """Count multiplications and additions of matrix products, and numbers written by the rest."""

    matrix = other = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func.overloadpacket in flop_registry:
            self.matrix += flop_registry[func.overloadpacket](*args, **kwargs, out_val=out)
        elif isinstance(out, torch.Tensor) and out.is_floating_point() and not func.is_view:
            self.other += out.numel()
        return out


def metered(function, read, spent, name=None):
    """Return a function that notes by how much `read()` grew, less what functions inside it noted.

    minimise tells its stage itself.
    """

    def call(*args, **kwargs):
        before, n = read(), len(spent)
        result = function(*args, **kwargs)
        inside = sum(amount for _, amount in spent[n:])
        spent.append((name or result, read() - before - inside))
        return result

    return call


def stage_of(key):
    """Return the name of a stage and its optimiser steps."""
    if isinstance(key, str):
        return key, 0
    name = str(key.history[-1]["stage"])
    return "label refinement" if name.startswith("refinement") else name, key.n_iter


def places(name):
    """Return the modules of latflow that call a function of this name."""
    modules = [m for key, m in list(sys.modules.items()) if key.startswith("latflow.")]
    holders = [module for module in modules if name in vars(module)]
    if not holders:
        raise LookupError(
            f"No module of latflow has {name!r}: METERED in {__file__} is out of date"
        )
    return holders


def spent_by_stage(fit, read):
    """Return a fit's steps and growth of `read()` per stage; what no stage took is the rest."""
    spent = []
    with ExitStack() as patches:
        for stage, name in {None: MINIMISE, **METERED}.items():
            for module in places(name):
                wrapped = metered(getattr(module, name), read, spent, stage)
                patches.enter_context(mock.patch.object(module, name, wrapped))
        before = read()
        fit()
        whole = read() - before
    records = [(*stage_of(key), *amount) for key, amount in spent]
    columns = ["stage", "steps", "seconds", "matrix", "other"]
    table = pd.DataFrame(records, columns=columns).groupby("stage", sort=False).sum()
    table.loc["the rest"] = [0, *(whole - table[columns[2:]].sum().to_numpy())]
    table.loc["whole fit"] = table.sum()
    return table


def matrix_rate(size=2048):
    """Return operations per second of a float32 matrix product."""
    a, b = torch.randn(2, size, size)
    return 2 * size**3 / min(timed(lambda: a @ b) for _ in range(5))


def run_stages(args):
    """Yield seconds, operations and their limit, stage by stage."""
    rate, tables = matrix_rate(), {}
    for name in args.systems:
        system = SYSTEMS[name]
        data = system.simulate(args.frames)
        common = {"random_state": 0} | ({"max_iter": args.max_iter} if args.max_iter else {})
        latent = LaTFEstimator(system.lagtime, boltzmann_constant=1.0, **common)
        model = TemperatureExtrapolator(latent, n_bootstraps=args.bootstraps, **common)
        fit = partial(model.fit, data["trajectories"], temperature=data["temperature"])
        with Operations() as operations:  # slows the fit: its seconds are not looked at
            table = spent_by_stage(fit, lambda o=operations: np.array([0.0, o.matrix, o.other]))
        clock = [
            spent_by_stage(fit, lambda: np.array([time.process_time(), 0.0, 0.0])).seconds
            for _ in range(args.fits)
        ]
        table["seconds"] = pd.concat(clock, axis=1).median(axis=1)
        table["ms a step"] = 1e3 * table.seconds / table.steps.where(table.steps > 0)
        table["limit, s"] = (table.matrix + table.other) / rate
        table["times the limit"] = table.seconds / table["limit, s"].where(table.matrix > 0)
        for kind in ("matrix", "other"):
            table[f"{kind} Gop"] = table.pop(kind) / 1e9
        tables[name] = table
    title = f"2 x {args.frames} frames: median of {args.fits} fit(s); a large float32 matrix "
    title += f"product makes {rate / 1e9:.0f} Gop/s"
    every = pd.concat(tables, names=["system"]).round(3)
    yield results.Result("fit_speed_stages", title, every, gaps=True)


# ------------------------------------------------------------------------ operations

# the first kind whose words the name of an operation has
KINDS = {
    "views, and nodes of autograd's graph": (
        "Backward", "view", "reshape", "detach", "expand", "transpose", "slice", "select",
        "squeeze", "strided", "split", "narrow", "unbind", "alias", "permute", "numpy_T", "flatten",
    ),
    "matrix products": ("mm", "linear", "dot"),
    "softmax": ("softmax", "logsumexp"),
    "factorisations and solutions": ("linalg", "triangular", "cholesky"),
    "look-up: gather, scatter, index": ("gather", "scatter", "index"),
    "optimiser of all parameters": ("adam", "_foreach"),
    "copies, stacks, empty and zero arrays": (
        "copy", "cat", "stack", "empty", "zero", "ones", "fill", "clone", "_to", "aten::to",
    ),
    "random numbers": ("rand", "normal"),
}  # fmt: skip
ARITHMETIC = "arithmetic on single numbers, sums"
CALLS = "Python, and what the profiler takes"


def kind_of(name):
    """Return the kind of an operation of torch's."""
    kinds = (kind for kind, words in KINDS.items() if any(word in name for word in words))
    return next(kinds, ARITHMETIC)


def profiled(function, microseconds):
    """Return a function that notes its operations' own time under the name of its stage."""

    def call(*args, **kwargs):
        start = time.perf_counter()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            outcome = function(*args, **kwargs)
        whole = 1e6 * (time.perf_counter() - start)
        stage, steps = stage_of(outcome)
        into = microseconds.setdefault(stage, {"steps": 0, CALLS: 0.0})
        own = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
        for name, spent in own.items():
            into[kind_of(name)] = into.get(kind_of(name), 0.0) + spent
        into[CALLS] += max(0.0, whole - sum(own.values()))
        into["steps"] += steps
        return outcome

    return call


def run_operations(args):
    """Yield per cent of each stage's training, by kind of operation."""
    system = SYSTEMS["lj7"]
    data, microseconds = system.simulate(args.frames), {}
    common = {"random_state": 0} | ({"max_iter": args.max_iter} if args.max_iter else {})
    latent = LaTFEstimator(system.lagtime, boltzmann_constant=1.0, **common)
    model = TemperatureExtrapolator(latent, n_bootstraps=0, **common)
    with ExitStack() as patches:
        for module in places(MINIMISE):
            wrapped = profiled(getattr(module, MINIMISE), microseconds)
            patches.enter_context(mock.patch.object(module, MINIMISE, wrapped))
        model.fit(data["trajectories"], temperature=data["temperature"])
    table = pd.DataFrame(microseconds).fillna(0.0)
    steps = table.loc["steps"]
    table = table.drop(index="steps")
    ms = table.sum() / steps / 1e3
    table = (100 * table / table.sum()).sort_values(table.columns[-1], ascending=False).round(0)
    table.loc["ms a step, profiled"] = ms.round(1)
    title = f"2 x {args.frames} frames of LJ7: per cent of a stage's training"
    yield results.Result("fit_speed_operations", title, table.rename_axis("operation"))


# ------------------------------------------------------------------------ bootstraps

FITS = """
from clock import timed
from simulations import SYSTEMS
import torch

torch.set_num_threads(1)
system = SYSTEMS[settings["system"]]
data = system.simulate(settings["frames"])
temperature = data["temperature"]


def seconds(n_bootstraps, **steps):
    latf = {"lagtime": system.lagtime} | steps
    model = extrapolator(n_bootstraps, latf, **steps)
    return timed(lambda: model.fit(data["trajectories"], temperature=temperature))


seconds(0, max_iter=10)
print(json.dumps([seconds(n, **settings["steps"]) for n in settings["bootstraps"]]))
"""


def run_bootstraps(args):
    """Yield seconds of whole fits without bootstraps and with them, and ratios to those without."""
    checkouts = {"this": results.ROOT} | ({"other": args.checkout} if args.checkout else {})
    numbers = [0, args.bootstraps]
    settings = {"frames": args.frames, "bootstraps": numbers, "steps": {}}
    settings["steps"] |= {"max_iter": args.max_iter} if args.max_iter else {}
    rows = {}
    for system in args.systems:
        turns = [
            {
                f"{name}, {n}": seconds
                for name, checkout in checkouts.items()
                for n, seconds in zip(
                    numbers, in_child(FITS, settings | {"system": system}, checkout), strict=True
                )
            }
            for _ in range(args.fits)
        ]
        rows[system] = pd.DataFrame(turns).median()
    table = pd.DataFrame(rows).T.rename_axis("system")
    for name in checkouts:
        table[f"{name}: {numbers[1]} / 0"] = table[f"{name}, {numbers[1]}"] / table[f"{name}, 0"]
    if args.checkout:
        table[f"this, {numbers[1]} / other, 0"] = table[f"this, {numbers[1]}"] / table["other, 0"]
    title = f"2 x {args.frames} frames: seconds by number of bootstraps, {args.fits} fit(s) each"
    yield results.Result("fit_speed_bootstraps", title, table.round(2))


# ----------------------------------------------------------------------------- flows


def latflows(transform):
    """Return latflow's flow: its module, negative log-likelihood of a batch, and sampler."""
    flow = flows.Flow(2, N_TRANSFORMS, transform, WIDTHS, 0, 5.0, torch.Generator().manual_seed(0))

    def nll(z):
        u, logdet = flow.forward_and_logdet(z)
        return (u.square().sum(dim=1) / 2 - logdet).mean()

    return flow, nll, lambda n: flow.inverse_and_logdet(torch.randn(n, 2))[0]


def zukos(transform):
    """Return zuko's coupling flow in the same form; its NSF is autoregressive, and slower."""
    zuko, k = importlib.import_module("zuko"), flows.N_BINS
    spline = {"univariate": zuko.transforms.MonotonicRQSTransform, "shapes": [(k,), (k,), (k - 1,)]}
    univariate = spline if transform == "spline" else {}
    flow = zuko.flows.NICE(2, transforms=N_TRANSFORMS, hidden_features=WIDTHS, **univariate)
    return flow, lambda z: -flow().log_prob(z).mean(), lambda n: flow().sample((n,))


def normflows_(transform):
    """Return normflows' coupling flow in the same form, with the same plain networks."""
    package = importlib.import_module("normflows")
    spline = importlib.import_module("normflows.flows.neural_spline.coupling")

    class Network(package.nets.MLP):
        hidden_features = WIDTHS[-1]  # which normflows divides the raw widths by

        def forward(self, x, context=None):
            return super().forward(x)

    def layers(position):
        if transform == "affine":
            network = package.nets.MLP([1, *WIDTHS, 2], init_zeros=True)
            return package.flows.AffineCouplingBlock(network), package.flows.Permute(2, "swap")
        return (
            spline.PiecewiseRationalQuadraticCoupling(
                mask=torch.tensor([position % 2, 1 - position % 2]),
                transform_net_create_fn=lambda a, b: Network([a, *WIDTHS, b], init_zeros=True),
                num_bins=flows.N_BINS, tails="linear", tail_bound=5.0,
            ),
        )  # fmt: skip

    every = [layer for position in range(N_TRANSFORMS) for layer in layers(position)]
    base = package.distributions.DiagGaussian(2, trainable=False)
    flow = package.NormalizingFlow(base, every)
    return flow, flow.forward_kld, lambda n: flow.sample(n)[0]


def stepper(flow, nll, batch):
    """Return one training step on fixed points."""
    z, optimiser = torch.randn(batch, 2), torch.optim.Adam(flow.parameters(), 1e-3, fused=True)

    def step():
        optimiser.zero_grad(set_to_none=True)
        nll(z).backward()
        optimiser.step()

    return step


@torch.no_grad()
def draw(sampler, n):
    """Draw n samples."""
    return sampler(n)


def run_flows(args):
    """Yield microseconds a sample of training steps and of sampling, and ratios to latflow's."""
    builders = {"latflow": latflows}
    builders |= {"zuko": zukos} if installed("zuko") else {}
    builders |= {"normflows": normflows_} if installed("normflows") else {}
    lines = {}
    for transform in flows.TRANSFORMS:
        built = {name: build(transform) for name, build in builders.items()}
        for batch in args.batches:
            steps = {name: stepper(flow, nll, batch) for name, (flow, nll, _) in built.items()}
            lines[f"{transform}, training step, batch {batch}"] = (
                in_turn(steps, args.repeats),
                batch,
            )
        draws = {
            name: partial(draw, sampler, args.samples) for name, (*_, sampler) in built.items()
        }
        seconds = in_turn(draws, max(1, args.repeats // 10))
        lines[f"{transform}, {args.samples} samples"] = seconds, args.samples
    table = pd.DataFrame({k: pd.Series(seconds) * 1e6 / n for k, (seconds, n) in lines.items()}).T
    for name in list(builders)[1:]:
        table[f"{name} / latflow"] = table[name] / table["latflow"]
    title = f"Flows, d = 2, {N_TRANSFORMS} couplings, {flows.N_BINS} bins: microseconds a sample"
    yield results.Result("fit_speed_flows", title, table.round(3).rename_axis("flow"))


TABLES = {
    "stages": run_stages,
    "operations": run_operations,
    "bootstraps": run_bootstraps,
    "flows": run_flows,
}


if __name__ == "__main__":
    parser = results.options(__doc__)
    results.add_tables(parser, TABLES)
    parser.add_argument("--systems", nargs="+", choices=tuple(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--frames", type=int, default=50_000, help="a temperature")
    parser.add_argument("--max-iter", type=int, help="of both estimators; their own if not given")
    parser.add_argument("--bootstraps", type=int, default=20)
    parser.add_argument("--checkout", type=Path, help="another commit, for the table of bootstraps")
    parser.add_argument("--fits", type=int, default=3, help="repeats of the whole fit")
    parser.add_argument("--repeats", type=int, default=50, help="of a step of the flows")
    parser.add_argument("--batches", type=int, nargs="+", default=[512, 1024, 4096])
    parser.add_argument("--samples", type=int, default=100_000)
    results.publish(parser, TABLES)
