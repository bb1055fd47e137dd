"""The training loop: caps, early stop, best weights back, roll-back, and that it says so."""

import math

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from latflow.nn.training import AdamW, Plan, batches, minimise, thin, torch_on


class Point(torch.nn.Module):
    """One parameter vector."""

    def __init__(self, start=(3.0, -2.0)):
        super().__init__()
        self.x = torch.nn.Parameter(torch.tensor(start))


def quadratic(module, target=1.0):
    def loss(rows):
        return ((module.x - target) ** 2).sum() + 0 * rows.sum()

    return loss


def run(module, loss, held_out=None, **plan):
    options = {"max_iter": 200, "learning_rate": 0.1, "batch_size": 8, "check_every": 10} | plan
    held_out = held_out or (lambda: float(loss(torch.zeros(1)).detach()))
    stream = batches(32, 8, torch.Generator().manual_seed(0))
    return minimise(module, loss, held_out, stream, Plan(**options), stage="quadratic")


def test_finds_the_minimum_of_a_quadratic():
    module = Point()
    outcome = run(module, quadratic(module))
    assert torch.allclose(module.x, torch.ones(2), atol=1e-3)
    assert outcome.n_iter <= 200
    assert not outcome.failed


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_optimiser_is_torchs(weight_decay):
    own, theirs = Point(), Point()
    unused = torch.nn.Parameter(torch.ones(2))  # without a gradient
    own.unused = unused
    optimiser = AdamW(own, weight_decay)
    reference = torch.optim.AdamW(theirs.parameters(), weight_decay=weight_decay)
    for step in range(20):
        rate = 0.1 / (step + 1)
        optimiser.step(((own.x - 1) ** 4).sum(), rate)
        reference.zero_grad()
        ((theirs.x - 1) ** 4).sum().backward()
        reference.param_groups[0]["lr"] = rate
        reference.step()
    assert torch.allclose(own.x, theirs.x, rtol=1e-6)
    assert torch.equal(unused, torch.ones(2))


def test_cap_on_iterations_holds():
    module = Point()
    outcome = run(module, quadratic(module), max_iter=7)
    assert outcome.n_iter == 7
    assert outcome.history[-1]["iteration"] == 7


def test_records_name_their_stage():
    module = Point()
    outcome = run(module, quadratic(module))
    assert {record["stage"] for record in outcome.history} == {"quadratic"}


def test_best_weights_by_held_out_loss_come_back():
    module = Point(start=(0.0, 0.0))
    outcome = run(
        module,
        quadratic(module),
        lambda: float(((module.x.detach() - 0.5) ** 2).sum()),
        learning_rate=0.02,
        max_iter=1000,
        patience=1000,
    )
    assert outcome.best == pytest.approx(float(((module.x.detach() - 0.5) ** 2).sum()))
    assert outcome.best == min(record["held_out_loss"] for record in outcome.history)
    assert (module.x - 1).abs().min() > 0.1  # not where the training loss led


def test_stops_when_the_held_out_loss_stops_falling():
    module = Point()
    outcome = run(module, quadratic(module), lambda: 1.0, max_iter=1000, patience=3)
    assert outcome.n_iter == 740  # a quarter of 100 looks, counted from step 500


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_non_finite_loss_rolls_back_and_halves_the_step(bad):
    module, seen = Point(), []

    def loss(rows):
        seen.append(0)
        wrong = bad if len(seen) == 45 else 0.0
        return ((module.x - 1) ** 2).sum() * (1 + wrong)

    rates = []
    plan = Plan(max_iter=300, learning_rate=0.1, batch_size=8, check_every=10)
    with pytest.warns(UserWarning, match=r"stage 'quadratic' became non-finite 1 time\(s\)"):
        outcome = minimise(
            module,
            loss,
            lambda: float(((module.x.detach() - 1) ** 2).sum()),
            batches(32, 8, torch.Generator().manual_seed(0)),
            plan,
            stage="quadratic",
            on_record=lambda record: rates.append((record["iteration"], record["learning_rate"])),
        )
    assert outcome.rollbacks == 1
    assert not outcome.failed
    assert torch.allclose(module.x, torch.ones(2), atol=1e-2)
    assert dict(rates)[40] == pytest.approx(plan.rate(39))
    assert dict(rates)[60] == pytest.approx(plan.rate(59) / 2)


def test_gives_up_with_the_best_weights_when_it_stays_non_finite():
    module = Point()
    with pytest.warns(ConvergenceWarning, match="stage 'quadratic' went on being non-finite"):
        outcome = run(module, lambda rows: (module.x * math.nan).sum(), lambda: 1.0)
    assert outcome.failed
    assert torch.equal(module.x.detach(), torch.tensor([3.0, -2.0]))


def test_frozen_parameters_stay():
    module = torch.nn.ModuleList([Point(), Point()])
    module[1].requires_grad_(False)
    run(module, lambda rows: sum(((part.x - 1) ** 2).sum() for part in module))
    assert torch.allclose(module[0].x, torch.ones(2), atol=1e-2)
    assert torch.equal(module[1].x, torch.tensor([3.0, -2.0]))


@pytest.mark.parametrize(("n_rows", "size"), [(10, 3), (9, 3), (5, 8), (8, 8)])
def test_batches_hold_every_row_at_most_once_an_epoch(n_rows, size):
    stream = batches(n_rows, size, torch.Generator().manual_seed(0))
    per_epoch = max(1, n_rows // size)
    for _ in range(3):
        rows = torch.cat([next(stream) for _ in range(per_epoch)])
        assert len(rows.unique()) == len(rows) == per_epoch * min(size, n_rows)


def test_rate_warms_up_and_falls_to_zero():
    plan = Plan(max_iter=100, learning_rate=1.0, batch_size=1)
    rates = [plan.rate(step) for step in range(100)]
    assert max(rates) == pytest.approx(1.0)
    assert rates[0] < 0.2
    assert rates[-1] < 0.01


@pytest.mark.parametrize(("n", "most"), [(10, 3), (9, 3), (1000, 999), (5, 8)])
@pytest.mark.parametrize("kind", [torch.arange, np.arange])
def test_thinned_indices_are_few_and_evenly_spread(n, most, kind):
    kept = thin(kind(n), most)
    assert len(kept) <= most
    assert len(set(np.diff(kept))) == 1
    assert kept[0] == 0
    assert n - int(kept[-1]) <= int(kept[1] - kept[0])


@pytest.mark.parametrize("setting", [torch.no_grad, torch.inference_mode])
def test_a_fit_has_gradients_and_its_threads_whatever_the_caller_set(setting):
    threads = torch.get_num_threads()
    with setting():
        with torch_on(threads + 1):
            assert torch.get_num_threads() == threads + 1
            module = Point()
            assert run(module, quadratic(module)).best < 1e-3
        assert not torch.is_grad_enabled()
    with pytest.raises(KeyError), torch_on(threads + 1):
        raise KeyError
    assert torch.get_num_threads() == threads


def test_no_number_of_threads_leaves_torch_its_own():
    threads = torch.get_num_threads()
    with torch_on(None):
        assert torch.get_num_threads() == threads
