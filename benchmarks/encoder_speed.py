"""Training of encoder and decoder: latflow's label refinement beside spib and VAMPNets.

    python benchmarks/encoder_speed.py                      # both tables, about ten minutes
    python benchmarks/encoder_speed.py --tables steps --repeats 50

steps       one training step on batches of 1024 pairs: latflow's label refinement, with and without
            the kinetic term of its loss, spib's, and that of deeptime's VAMPNet
refinement  held-out cross-entropy of the states against time. The target is what the worst of the
            methods ends with; each line has the seconds to it, the seconds in all, and what it ends
            with. Once with the initial labels, once with those that each method makes of them:
            fewer states have a lower entropy, so look at their number too

All on LJ7 at T = 0.2: the same initial labels, trajectories held out, sizes of networks (latflow's
encoder has tanh, spib's rectified units) and of batches; latflow by its default schedule, spib at
its default rate and at latflow's. spib has no limit of steps and at high rates its own criterion
may never be met: `--most` ends it. Processor time, one thread, without what judging takes; medians
of repeats. Peers come with the extra `bench`; one that is not installed is left out.
"""

import contextlib
import importlib
import io
import tempfile
import time
from importlib.metadata import version
from itertools import count

import numpy as np
import pandas as pd
import results
import torch
from clock import in_turn
from deeptime.decomposition.deep import VAMPNet
from deeptime.util.data import TimeLaggedDataset
from deeptime.util.torch import MLP
from fit_speed import WIDTHS, installed
from simulations import SYSTEMS
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from latflow import LaTFEstimator
from latflow.estimators.initial_labels import initial_labels
from latflow.estimators.seam import Standardised, features_of
from latflow.nn import stages
from latflow.nn.distributions import TiltedGaussian
from latflow.nn.model import LatentModel
from latflow.nn.training import Plan, minimise
from latflow.trajectories import gather_frames

BATCH = 1024
HELD_OUT = 10  # one trajectory in so many
EVERY = 25  # steps between two looks
ROUNDS = {"initial": (1, 0), "refined": (10, 15)}  # of latflow and of spib; their defaults


class Problem:
    """One task in latflow's and in spib's form."""

    def __init__(self, frames, n_states=10):
        self.lagtime = SYSTEMS["lj7"].lagtime
        trajectories = SYSTEMS["lj7"].simulate(frames, temperatures=[0.2])["trajectories"]
        frames = gather_frames(LaTFEstimator(), trajectories, lagtime=self.lagtime, reset=True)
        mean, variance = frames.moments
        self.standardised = Standardised(frames.X, mean, np.sqrt(variance))
        self.x = self.standardised[:]
        self.held_out = frames.trajectory % HELD_OUT == 0
        self.pairs = frames.pairs(self.lagtime)
        self.labels = initial_labels(self.standardised, frames, self.pairs, n_states, 0)
        self.n_states = int(self.labels.max()) + 1
        ends = np.cumsum([len(x) for x in trajectories])[:-1]
        self.lists = [np.split(values, ends) for values in (self.x, self.labels)]
        i, j = self.pairs
        outside = self.held_out[i] & self.held_out[j]
        self.judged = torch.tensor(self.x[i[outside]], dtype=torch.float32)
        self.judged_ends = torch.as_tensor(j[outside])

    def fit(self, *, kinetic, plan, n_refinements, seed):
        """Return latflow's fit, ready to refine labels."""
        source = torch.Generator().manual_seed(seed)
        model = LatentModel(
            n_features=self.x.shape[1], n_components=2, n_states=self.n_states,
            encoder_features=WIDTHS, decoder_features=WIDTHS, flow_features=WIDTHS,
            n_transforms=1, transform="affine", tilt=2.0, bound=5.0, generator=source,
        )  # fmt: skip
        ones = np.ones(len(self.x))
        data = stages.TrainingData.split(
            features_of(self.standardised, torch.device("cpu")),
            ones,
            TiltedGaussian(2, 2.0, ones),
            self.pairs,
            self.held_out,
            torch.device("cpu"),
        )
        labels = torch.as_tensor(self.labels)
        return stages.Fit(model, data, labels, 1e-3, kinetic, plan, n_refinements, source)

    def spib(self, rate, folder):
        """Return spib's model and its data sets to train on and to judge by."""
        network, utils = map(importlib.import_module, ("spib.spib", "spib.utils"))
        net = network.SPIB(
            self.n_states, (self.x.shape[1],), lagtime=self.lagtime, learning_rate=rate,
            neuron_num1=WIDTHS[0], neuron_num2=WIDTHS[0], path=f"{folder}/spib",
        )  # fmt: skip
        everywhere = range(len(self.lists[0]))
        test = [k for k in everywhere if k % HELD_OUT == 0]
        train = [k for k in everywhere if k % HELD_OUT]
        return net, *utils.prepare_data(
            *self.lists, None, self.n_states, train, test, lagtime=self.lagtime
        )


class Curve:
    """Held-out cross-entropy against processor time, without the time that judging takes."""

    def __init__(self):
        self.points, self.judging, self.start = [], 0.0, time.process_time()

    @torch.no_grad()
    def look(self, log_probabilities, labels, n_states):
        """Note time, cross-entropy and number of states."""
        now = time.process_time()
        entropy = torch.nn.functional.nll_loss(log_probabilities(), labels())
        self.points.append((now - self.start - self.judging, float(entropy), n_states()))
        self.judging += time.process_time() - now

    def time_to(self, target):
        """Return seconds until the cross-entropy is at the target."""
        return next((seconds for seconds, entropy, _ in self.points if entropy <= target), np.nan)


def refine_by_latflow(problem, kinetic, rounds, max_iter, seed):
    """Return the curve of latflow's label refinement."""
    plan = Plan(max_iter, 1e-2, BATCH)
    fit = problem.fit(kinetic=kinetic, plan=plan, n_refinements=rounds, seed=seed)
    model, curve = fit.model, Curve()
    fit.on_record = lambda record: curve.look(
        lambda: model.decoder(model.encoder(problem.judged)),
        lambda: fit.labels[problem.judged_ends].long(),
        lambda: model.decoder.n_states,
    )
    fit.refine()
    return curve


class Enough(Exception):
    """Ends spib's fit: at high rates its criterion is not met, and it has no limit of its own."""


def refine_by_spib(problem, rate, rounds, seed, most):
    """Return the curve of spib's fit, looked at as often as latflow's."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (spib draws from the global generator)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        net, train, test = problem.spib(rate, folder)
        curve, loss, steps = Curve(), net.calculate_loss, count()

        def judged_loss(*batch):
            if not torch.is_grad_enabled():
                return loss(*batch)
            step = next(steps)
            if step == most:
                raise Enough
            if step % EVERY == 0:
                curve.look(
                    lambda: net.decode(net.encode(problem.judged)[0]),
                    lambda: test.future_labels.argmax(dim=1),
                    lambda: net.output_dim,
                )
            return loss(*batch)

        net.calculate_loss = judged_loss
        with contextlib.suppress(Enough, ValueError):  # the latter where one state is left
            net.fit(train, test, batch_size=BATCH, refinements=rounds)
    return curve


def run_refinement(args):
    """Yield the time to the cross-entropy that the worst ends with."""
    problem, with_spib = Problem(args.frames), installed("spib")
    records = []
    for labels, (ours, others) in ROUNDS.items():
        for seed in args.seeds:
            curves = {
                name: refine_by_latflow(problem, kinetic, ours, args.max_iter, seed)
                for name, kinetic in (("latflow", 1.0), ("latflow, kinetic_weight=0", 0.0))
            }
            for rate in (1e-3, 1e-2) if with_spib else ():
                curve = refine_by_spib(problem, rate, others, seed, args.most)
                curves[f"spib, rate {rate:g}"] = curve
            target = max(curve.points[-1][1] for curve in curves.values())
            for name, curve in curves.items():
                ends = dict(zip(("seconds", "entropy", "states"), curve.points[-1], strict=True))
                common = {"labels": labels, "method": name, "target": target}
                records.append(common | {"s to target": curve.time_to(target)} | ends)
    table = pd.DataFrame(records).groupby(["labels", "method"], sort=False).median().round(4)
    title = f"Label refinement, LJ7 at T = 0.2: median of {len(args.seeds)} seed(s)"
    yield results.Result("encoder_speed_refinement", title, table)


def run_steps(args):
    """Yield what one step of training the encoder takes."""
    n = args.steps
    problem, with_spib = Problem(args.frames), installed("spib")
    plan = Plan(n, 1e-2, BATCH, check_every=n)

    def ours(kinetic):
        fit = problem.fit(kinetic=kinetic, plan=plan, n_refinements=0, seed=0)
        loss, _, stream = fit._pair_losses(flow=False)
        batches = stream(BATCH)
        return lambda: minimise(fit.model, loss, lambda: 0.0, batches, plan, stage="steps")

    functions = {"latflow": ours(1.0), "latflow, kinetic_weight=0": ours(0.0)}
    functions["deeptime's VAMPNet"] = vampnet_steps(problem, n)
    if with_spib:
        functions["spib"] = spib_steps(problem, n)
    table = pd.DataFrame({"ms a step": in_turn(functions, args.repeats)}) * 1e3 / n
    table["over latflow"] = table["ms a step"] / table["ms a step"].iloc[0]
    title = f"A step of the encoder, batch {BATCH}, deeptime {version('deeptime')}"
    yield results.Result("encoder_speed_steps", title, table.round(3).rename_axis("method"))


def loader_of(data):
    """Return a loader that takes a batch by one indexing, the fastest that torch has."""
    size = min(BATCH, len(data))
    return DataLoader(data, sampler=BatchSampler(RandomSampler(data), size, True), batch_size=None)


def vampnet_steps(problem, n):
    """Return a function that takes n steps of deeptime's VAMPNet with latflow's encoder."""
    i, j = problem.pairs
    x = problem.x.astype(np.float32)
    lobe = MLP([x.shape[1], *WIDTHS, 2], nonlinearity=torch.nn.Tanh)
    net = VAMPNet(lobe, learning_rate=1e-2)
    loader = endless(loader_of(TimeLaggedDataset(x[i], x[j])))

    def run():
        for _ in range(n):
            net.partial_fit(next(loader))

    return run


def spib_steps(problem, n):
    """Return a function that takes n steps as spib's fit does."""
    with tempfile.TemporaryDirectory() as folder:
        net, train, _ = problem.spib(1e-2, folder)
    net.init_representative_inputs(train.past_data, train.future_labels)
    optimiser, loader = torch.optim.Adam(net.parameters(), 1e-2), endless(loader_of(train))

    def run():
        for _ in range(n):
            loss, *_ = net.calculate_loss(*next(loader))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    return run


def endless(loader):
    """Yield batches epoch after epoch."""
    while True:
        yield from loader


TABLES = {"steps": run_steps, "refinement": run_refinement}


if __name__ == "__main__":
    parser = results.options(__doc__)
    results.add_tables(parser, TABLES)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--max-iter", type=int, default=1400, help="of latflow")
    parser.add_argument("--most", type=int, default=5000, help="steps of a fit of spib")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--repeats", type=int, default=50, help="of the steps")
    parser.add_argument("--steps", type=int, default=20, help="a repeat")
    results.publish(parser, TABLES)
