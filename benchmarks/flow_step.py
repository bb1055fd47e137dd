"""One training step and one sampling pass of equal spline flows: latflow's couplings and zuko's.

    python benchmarks/flow_step.py [--repeats 50]

d = 2, one number of context, 8 bins, networks (32, 32), 4 transforms; forward, backward and one
Adam step; median milliseconds, the two interleaved in one run, one thread. zuko comes with the
extra `dev`.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import time

import torch
import zuko

from latflow.nn import flows

BATCHES = (512, 1024, 4096)
SAMPLES = 100_000


def ours(generator):
    """Return latflow's flow as (log-density of a batch, sampler, parameters)."""
    flow = flows.Flow(2, 4, "spline", (32, 32), 1, 5.0, generator)

    def nll(z, context):
        u, logdet = flow.forward_and_logdet(z, context)
        return (u.square().sum(dim=1) / 2 - logdet).mean()

    def sample(context):
        return flow.inverse_and_logdet(torch.randn(len(context), 2), context)[0]

    return nll, sample, flow.parameters()


def theirs():
    """Return zuko's neural spline flow in the same form."""
    flow = zuko.flows.NSF(2, 1, transforms=4, bins=8, hidden_features=(32, 32))
    return (
        lambda z, context: -flow(context).log_prob(z).mean(),
        lambda context: flow(context).sample(),
        flow.parameters(),
    )


def timed(function):
    """Return milliseconds of one call."""
    start = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - start)


def stepper(nll, parameters, batch):
    """Return one training step on a fixed batch."""
    z, context = torch.randn(batch, 2), torch.rand(batch, 1)
    optimiser = torch.optim.Adam(parameters, 1e-3, fused=True)

    def step():
        optimiser.zero_grad(set_to_none=True)
        nll(z, context).backward()
        optimiser.step()

    return step


def compare(label, one, other, repeats):
    """Print medians of two functions, called in turn, and their ratio."""
    pairs = [(timed(one), timed(other)) for _ in range(repeats + 5)][5:]
    mine, zukos = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"{label:28s} {mine:9.2f} {zukos:9.2f} {ratio:9.2f}")


def main():
    """Parse the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=50)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    flows.N_BINS = 8
    flows.Spline.n_parameters = flows.n_spline_parameters(8)
    print(f"{'ms':28s} {'latflow':>9s} {'zuko':>9s} {'ratio':>9s}")
    for batch in BATCHES:
        (nll, _, own), (their_nll, _, their) = ours(torch.Generator().manual_seed(0)), theirs()
        one, other = stepper(nll, own, batch), stepper(their_nll, their, batch)
        compare(f"training step, batch {batch}", one, other, repeats)
    (_, draw, _), (_, their_draw, _) = ours(torch.Generator().manual_seed(0)), theirs()
    context = torch.rand(SAMPLES, 1)
    with torch.no_grad():
        compare(
            f"{SAMPLES} samples",
            lambda: draw(context),
            lambda: their_draw(context),
            max(1, repeats // 10),
        )


if __name__ == "__main__":
    main()
