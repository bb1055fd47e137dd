"""Kinetic variance: cross-validated VAMP-2 of latflow, VAMPNets and TICA at equal dimension.

    python benchmarks/kinetic_variance.py            # three systems, three seeds, about 20 min
    python benchmarks/kinetic_variance.py --systems three-hole --seeds 0 --frames 5000 --folds 2

Each seed simulates anew and seeds the models. Folds are whole trajectories, the same for every
method, scored by VAMP-2 at the lagtime of training (vamp2_scorer). VAMPNets are deeptime's, with
latflow's encoder network (tanh, two layers of 32) on standardised features, and as many steps
(1200 of 1024 pairs) as latflow's encoder may take by default; of Adam's peak rates 1e-3, 3e-3,
1e-2, 3e-2 and 1e-1 (warm-up and cosine) 3e-2 was the best or within 0.001 of it. A tenth of the
training trajectories chooses their best weights, as in latflow. TICA is linear in the features. One
thread.
"""

import copy
import math
from functools import partial

import numpy as np
import pandas as pd
import results
import torch
from deeptime.data import ellipsoids
from deeptime.decomposition import TICA
from deeptime.decomposition.deep import VAMPNet
from deeptime.util.data import TimeLaggedDataset
from deeptime.util.torch import MLP
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.model_selection import cross_validate
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from latflow import FromDeeptime, LaTFEstimator, TrajectoryKFold
from latflow.datasets import make_lj7, make_three_hole, three_hole_timescales
from latflow.metrics import vamp2_scorer

LAZINESS = 0.97
HELD_OUT = 10  # one trajectory in so many chooses the VAMPNet's weights


class VAMPNets(TransformerMixin, BaseEstimator):
    """deeptime's VAMPNet on lists of trajectories, trained on the schedule of latflow's stages."""

    def __init__(
        self, lagtime, dim, widths=(32, 32), steps=1200, batch=1024, rate=3e-2, random_state=0
    ):
        self.lagtime = lagtime
        self.dim = dim
        self.widths = widths
        self.steps = steps
        self.batch = batch
        self.rate = rate
        self.random_state = random_state

    def fit(self, X, y=None):
        """Train on pairs that cross no trajectory's end; keep the weights best on some of them."""
        torch.manual_seed(self.random_state)
        frames = np.concatenate(X)
        self.mean_, self.scale_ = frames.mean(axis=0), frames.std(axis=0)
        held_out = range(0, len(X), HELD_OUT) if len(X) > 1 else ()
        train = self._pairs([x for k, x in enumerate(X) if k not in held_out])
        judged = self._pairs([X[k] for k in held_out]) if held_out else train
        judged = tuple(map(torch.as_tensor, (judged.data, judged.data_lagged)))
        lobe = MLP([frames.shape[1], *self.widths, self.dim], nonlinearity=torch.nn.Tanh)
        net = VAMPNet(lobe, learning_rate=self.rate)
        size = min(self.batch, len(train))
        batches = BatchSampler(RandomSampler(train), size, drop_last=True)
        loader = DataLoader(train, sampler=batches, batch_size=None)
        best, weights, n_epochs = -math.inf, None, max(1, self.steps // len(loader))
        for _ in range(n_epochs):
            net.fit(loader, train_score_callback=partial(self._schedule, net))
            score = float(net.validate(judged))
            if score > best:
                best, weights = score, copy.deepcopy(lobe.state_dict())
        lobe.load_state_dict(weights)
        self.model_ = net.fetch_model()
        return self

    def transform(self, X):
        """Return the lobe's outputs, list in, list out."""
        return [self.model_.transform(self._scaled(x)) for x in X]

    def _scaled(self, x):
        return ((x - self.mean_) / self.scale_).astype(np.float32)

    def _pairs(self, X):
        starts = np.concatenate([self._scaled(x[: -self.lagtime]) for x in X])
        ends = np.concatenate([self._scaled(x[self.lagtime :]) for x in X])
        return TimeLaggedDataset(starts, ends)

    def _schedule(self, net, step, score):
        """Set the rate of the next step: up over a tenth of the steps, then a cosine to zero."""
        done, warm = (step + 1) / self.steps, 0.1
        fall = (1 + math.cos(math.pi * min(1.0, (done - warm) / (1 - warm)))) / 2
        net.optimizer.param_groups[0]["lr"] = self.rate * (done / warm if done < warm else fall)


def three_hole(frames, seed):
    """Return trajectories of the three-hole potential at k_B T = 1."""
    return make_three_hole(frames, 1.0, random_state=seed).trajectories


def lj7(frames, seed):
    """Return trajectories of LJ7 at T = 0.2."""
    return make_lj7(frames, 0.2, random_state=seed).trajectories


def two_ellipsoids(frames, seed):
    """Return 20 independent trajectories in 10 noisy dimensions, two fifths of `frames` in all."""
    length = max(20, frames // 50)
    data = ellipsoids(laziness=LAZINESS, seed=seed)
    states = [data.msm.simulate(length, seed=20 * seed + k) for k in range(20)]
    x = data.map_discrete_to_observations(np.concatenate(states), n_dim=10, noise=True)
    return np.split(x, 20)


def three_hole_optimum(lagtime, dim):
    """Return 1 + sum exp(-2 tau / t_i); frames are 0.1 time units apart."""
    return 1 + np.exp(-2 * 0.1 * lagtime / three_hole_timescales(1.0, dim)).sum()


SYSTEMS = {  # simulation, lagtime, dimension, optimum where known
    "three-hole": (three_hole, 5, 2, three_hole_optimum(5, 2)),
    "lj7": (lj7, 5, 2, None),
    "ellipsoids": (two_ellipsoids, 1, 1, 1 + (2 * LAZINESS - 1) ** 2),
}


def methods(lagtime, dim, seed, max_iter):
    """Return one estimator per method; the encoder of latflow takes 3/4 of max_iter."""
    latf = {"lagtime": lagtime, "n_components": dim, "max_iter": max_iter, "random_state": seed}
    steps = round(0.75 * max_iter)
    return {
        "TICA": FromDeeptime(TICA(lagtime=lagtime, dim=dim)),
        "VAMPNets": VAMPNets(lagtime, dim, steps=steps, random_state=seed),
        "latflow, mlp": LaTFEstimator(encoder="mlp", **latf),
        "latflow, linear": LaTFEstimator(encoder="linear", **latf),
    }


def judge(estimator, trajectories, lagtime, n_folds):
    """Return a DataFrame, a line a fold."""
    scores = cross_validate(
        estimator,
        trajectories,
        cv=TrajectoryKFold(n_folds),
        scoring=vamp2_scorer(lagtime),
        return_estimator=True,
        error_score="raise",
    )
    states = [getattr(fitted, "n_states_", np.nan) for fitted in scores["estimator"]]
    columns = {"score": scores["test_score"], "seconds": scores["fit_time"], "states": states}
    return pd.DataFrame(columns).rename_axis("fold").reset_index()


def mean_and_error(values):
    """Return the mean over folds and seeds, and its standard error."""
    return values.mean(), values.std(ddof=1) / np.sqrt(len(values))


def summarise(scores):
    """Return a line a method; differences are paired, fold by fold."""
    wide = scores.pivot_table(index=["seed", "fold"], columns="method", values="score")
    lines = []
    for method, table in scores.groupby("method", sort=False):
        line = {"method": method}
        line["VAMP-2"], line["s.e."] = mean_and_error(wide[method])
        for rival in ("TICA", "VAMPNets"):
            difference = mean_and_error(wide[method] - wide[rival])
            line[f"- {rival}"], line[f"s.e. of - {rival}"] = difference
        line["states"] = table.states.mean()
        line["seconds a fit"] = table.seconds.median()
        lines.append(line)
    return pd.DataFrame(lines).set_index("method")


def line_of(name, table):
    """Return the line of a system in the table of all."""
    _, _, dim, optimum = SYSTEMS[name]
    known = "" if optimum is None else f" (exact: {optimum:.3f})"
    best = table.loc["latflow, mlp"]
    return {
        "system": f"{name}{known}",
        "dimension": dim,
        "TICA": table.loc["TICA", "VAMP-2"].round(3),
        "VAMPNets": table.loc["VAMPNets", "VAMP-2"].round(3),
        "latflow": best["VAMP-2"].round(3),
        "latflow less VAMPNets": f"{best['- VAMPNets']:+.4f} ± {best['s.e. of - VAMPNets']:.4f}",
    }


def run(args):
    """Judge all methods, system by system."""
    lines = []
    for name in args.systems:
        simulate, lagtime, dim, _ = SYSTEMS[name]
        scores = []
        for seed in args.seeds:
            trajectories = simulate(args.frames, seed)
            for method, estimator in methods(lagtime, dim, seed, args.max_iter).items():
                table = judge(estimator, trajectories, lagtime, args.folds)
                scores.append(table.assign(method=method, seed=seed))
        summary = summarise(pd.concat(scores))
        lines.append(line_of(name, summary))
        title = f"{name}: cross-validated VAMP-2, lagtime {lagtime}, dimension {dim}"
        file = f"kinetic_variance_{name.replace('-', '_')}"
        yield results.Result(file, title, summary.round(4), gaps=True)
    table = pd.DataFrame(lines).set_index("system")
    yield results.Result("kinetic_variance", "Cross-validated VAMP-2 at equal dimension", table)


if __name__ == "__main__":
    parser = results.options(__doc__)
    parser.add_argument("--systems", nargs="+", choices=tuple(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--frames", type=int, default=50_000)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--max-iter", type=int, default=1400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    results.publish(parser, run)
