"""What a fit costs, stage by stage, beside the arithmetic limit; and its flows beside peers'.

    python benchmarks/fit_speed.py                          # both tables, about five minutes
    python benchmarks/fit_speed.py --tables flows --repeats 50

stages  a whole fit (LaTF, h, generator) of LJ7 and of the three-hole potential. The limit is the
        operations of the fit over the rate of a large float32 matrix product in this run; an
        operation is a multiplication or addition in a matrix product, or one number written by
        anything else in torch (k-means, TICA and the frames' weights are numpy's and not seen)
flows   a training step and a sample of equal couplings: latflow, zuko and normflows

Processor time, one thread; medians of repeats that take turns. Peers come with the extra `bench`;
one that is not installed is left out.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import importlib.util
import statistics
import time
import warnings
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from unittest import mock

import numpy as np
import pandas as pd
import torch
from temperature_transfer import join
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from latflow import LaTFEstimator, TemperatureExtrapolator
from latflow.datasets import make_lj7, make_three_hole
from latflow.estimators import extrapolator, generator, latf, reweighting, stages
from latflow.nn import flows

SYSTEMS = {  # simulation, temperatures, lagtime
    "LJ7": (make_lj7, (0.2, 0.5), 1),
    "three-hole": (make_three_hole, (0.7, 1.4), 5),
}
HIDDEN = (32, 32)
N_TRANSFORMS = 4
METERED = {  # besides the calls of minimise
    "initial labels": (latf, "first_labels"),
    "last layer of h": (reweighting, "_best_ridge"),
    "free energies between temperatures": (extrapolator, "mixture_of"),
    "draws for the generator": (generator, "weighted_draws"),
}


def installed(name):
    """Name a peer and its version, or say that it is left out."""
    if importlib.util.find_spec(name) is None:
        print(f"{name} is not installed and left out: pip install 'latflow[bench]'")
        return False
    print(f"{name} {version(name)}")
    return True


def timed(function):
    """Return processor seconds of one call; other processes of the machine do not count."""
    start = time.process_time()
    function()
    return time.process_time() - start


def in_turn(functions, repeats):
    """Return each function's median seconds, called in turn after a first call that is dropped."""
    rounds = [[timed(function) for function in functions.values()] for _ in range(repeats + 1)]
    return dict(zip(functions, map(statistics.median, zip(*rounds[1:], strict=True)), strict=True))


def show(title, table):
    """Print a table below its title."""
    print(f"\n## {title}\n\n{table.to_string(na_rep='-')}\n", flush=True)


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
    """Return a function that notes by how much `read()` grew; minimise tells its stage itself."""

    def call(*args, **kwargs):
        before = read()
        result = function(*args, **kwargs)
        spent.append((name or result, read() - before))
        return result

    return call


def stage_of(key):
    """Return the name of a stage and its optimiser steps."""
    if isinstance(key, str):
        return key, 0
    name = str(key.history[-1]["stage"])
    return "label refinement" if name.startswith("refinement") else name, key.n_iter


def spent_by_stage(fit, read):
    """Return a fit's steps and growth of `read()` per stage; what no stage owns is the rest."""
    spent = []
    with ExitStack() as patches:
        for module in (stages, reweighting, generator):
            wrapped = metered(module.minimise, read, spent)
            patches.enter_context(mock.patch.object(module, "minimise", wrapped))
        for name, (module, attribute) in METERED.items():
            wrapped = metered(getattr(module, attribute), read, spent, name)
            patches.enter_context(mock.patch.object(module, attribute, wrapped))
        before = read()
        fit()
        whole = read() - before
    rows = [(*stage_of(key), *amount) for key, amount in spent]
    columns = ["stage", "steps", "seconds", "matrix", "other"]
    table = pd.DataFrame(rows, columns=columns).groupby("stage", sort=False).sum()
    table.loc["the rest"] = [0, *(whole - table[columns[2:]].sum().to_numpy())]
    table.loc["whole fit"] = table.sum()
    return table


def matrix_rate(size=2048):
    """Return operations per second of a float32 matrix product."""
    a, b = torch.randn(2, size, size)
    return 2 * size**3 / min(timed(lambda: a @ b) for _ in range(5))


def run_stages(args):
    """Print seconds, operations and their limit, stage by stage."""
    rate = matrix_rate()
    print(f"float32 matrix product: {rate / 1e9:.0f} Gflop/s")
    for name, (simulate, temperatures, lagtime) in SYSTEMS.items():
        data = join(*(simulate(args.frames, t, random_state=0) for t in temperatures))
        common = {"random_state": 0} | ({"max_iter": args.max_iter} if args.max_iter else {})
        latent = LaTFEstimator(lagtime, boltzmann_constant=1.0, **common)
        model = TemperatureExtrapolator(latent, **common)
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
        table["times limit"] = table.seconds / table["limit, s"].where(table.matrix > 0)
        table["matrix Gop"], table["other Gop"] = (
            table.pop("matrix") / 1e9,
            table.pop("other") / 1e9,
        )
        show(f"{name}, 2 x {args.frames} frames: median of {args.fits} fit(s)", table.round(3))


# ----------------------------------------------------------------------------- flows


def latflows(transform):
    """Return latflow's flow: its module, negative log-likelihood of a batch, and sampler."""
    flow = flows.Flow(2, N_TRANSFORMS, transform, HIDDEN, 0, 5.0, torch.Generator().manual_seed(0))

    def nll(z):
        u, logdet = flow.forward_and_logdet(z)
        return (u.square().sum(dim=1) / 2 - logdet).mean()

    return flow, nll, lambda n: flow.inverse_and_logdet(torch.randn(n, 2))[0]


def zukos(transform):
    """Return zuko's coupling flow in the same form; its NSF is autoregressive, and slower."""
    zuko, k = importlib.import_module("zuko"), flows.N_BINS
    spline = {"univariate": zuko.transforms.MonotonicRQSTransform, "shapes": [(k,), (k,), (k - 1,)]}
    own = spline if transform == "spline" else {}
    flow = zuko.flows.NICE(2, transforms=N_TRANSFORMS, hidden_features=HIDDEN, **own)
    return flow, lambda z: -flow().log_prob(z).mean(), lambda n: flow().sample((n,))


def normflows_(transform):
    """Return normflows' coupling flow in the same form, with the same plain networks."""
    package = importlib.import_module("normflows")
    spline = importlib.import_module("normflows.flows.neural_spline.coupling")

    class Network(package.nets.MLP):
        hidden_features = HIDDEN[-1]  # which normflows divides the raw widths by

        def forward(self, x, context=None):
            return super().forward(x)

    def layers(position):
        if transform == "affine":
            network = package.nets.MLP([1, *HIDDEN, 2], init_zeros=True)
            return package.flows.AffineCouplingBlock(network), package.flows.Permute(2, "swap")
        return (
            spline.PiecewiseRationalQuadraticCoupling(
                mask=torch.tensor([position % 2, 1 - position % 2]),
                transform_net_create_fn=lambda a, b: Network([a, *HIDDEN, b], init_zeros=True),
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
    """Print microseconds a sample of training steps and of sampling, and ratios to latflow's."""
    builders = {"latflow": latflows}
    builders |= {"zuko": zukos} if installed("zuko") else {}
    builders |= {"normflows": normflows_} if installed("normflows") else {}
    rows = []
    for transform in flows.TRANSFORMS:
        built = {name: build(transform) for name, build in builders.items()}
        for batch in args.batches:
            steps = {name: stepper(flow, nll, batch) for name, (flow, nll, _) in built.items()}
            label = f"{transform}, training step, batch {batch}"
            rows.append((label, in_turn(steps, args.repeats), batch))
        draws = {
            name: partial(draw, sampler, args.samples) for name, (*_, sampler) in built.items()
        }
        few = max(1, args.repeats // 10)
        rows.append((f"{transform}, {args.samples} samples", in_turn(draws, few), args.samples))
    table = pd.DataFrame({label: pd.Series(found) * 1e6 / n for label, found, n in rows}).T
    for name in list(builders)[1:]:
        table[f"{name} / latflow"] = table[name] / table["latflow"]
    title = f"Flows, d = 2, {N_TRANSFORMS} couplings, {flows.N_BINS} bins: microseconds a sample"
    show(title, table.round(3))


TABLES = {"stages": run_stages, "flows": run_flows}


def main():
    """Parse the options and print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", choices=tuple(TABLES), default=list(TABLES))
    parser.add_argument("--frames", type=int, default=50_000, help="per temperature")
    parser.add_argument("--max-iter", type=int, help="of both estimators; their own if not given")
    parser.add_argument("--fits", type=int, default=3, help="repeats of the whole fit")
    parser.add_argument("--repeats", type=int, default=50, help="of a step of the flows")
    parser.add_argument("--batches", type=int, nargs="+", default=[512, 1024, 4096])
    parser.add_argument("--samples", type=int, default=100_000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in args.tables:
        TABLES[name](args)


if __name__ == "__main__":
    main()
