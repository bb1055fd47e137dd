"""A recipe as a torch module: collective variables of positions, with autograd's derivatives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latflow._validation import muted
from latflow.estimators.seam import Layers
from latflow.export.recipe import (
    Atoms,
    Contact,
    Coordination,
    Distance,
    Feature,
    Ranked,
    Recipe,
    Torsion,
)

DEPRECATED = "`torch.jit"  # what PLUMED, Colvars and OpenMM's plugin read
Traced = Callable[..., Any]
Pair = tuple[int, int, bool]  # two atoms, and whether the nearest image counts
IMAGES = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)


class Network(nn.Module):
    """Layers with tanh between them, from features (..., n_features) to variables (..., n)."""

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for weights, biases in layers:
            n_out, n_in = weights.shape
            linear = nn.Linear(n_in, n_out, dtype=torch.float64)
            linear.weight.data.copy_(torch.from_numpy(weights))
            linear.bias.data.copy_(torch.from_numpy(biases))
            steps += [linear, nn.Tanh()]
        self.layers = nn.Sequential(*steps[:-1])
        self.n_variables = len(layers[-1][1])
        self.requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        """Return the variables of features."""
        z: Tensor = self.layers(features)
        return z


class FromPositions(nn.Module):
    """Features, and then variables, of positions (..., n_atoms, 3) in nm.

    Attributes
    ----------
    periodic : bool
        Whether some feature takes the nearest image, where there is a box.
    mixed : bool
        Whether some features do and others do not.
    """

    def __init__(self, recipe: Recipe, atoms: Sequence[int], *, triclinic: bool) -> None:
        super().__init__()
        places = {atom: k for k, atom in enumerate(atoms)}
        pairs = Pairs(places, triclinic=triclinic)
        self.kinds = nn.ModuleList()
        order: list[int] = []
        indexed = sorted(enumerate(recipe.features), key=lambda item: _kind(item[1]))
        for _, some in groupby(indexed, key=lambda item: _kind(item[1])):
            numbers, features = zip(*some, strict=True)
            self.kinds.append(_module(features, pairs))
            order += numbers
        pairs.freeze()
        self.pairs = pairs
        self.order = nn.Buffer(torch.from_numpy(np.argsort(order)))
        self.network = Network(recipe.layers)
        flags = {flag for *_, flag in pairs.known}
        self.periodic, self.mixed = True in flags, len(flags) > 1

    def features(self, positions: Tensor, box: Tensor | None = None) -> Tensor:
        """Return features (..., n_features); `box` holds three vectors (3, 3), or is None."""
        vectors = self.pairs(positions, box)
        columns = [kind(vectors) for kind in self.kinds]
        return torch.cat(columns, dim=-1).index_select(-1, self.order)

    def forward(self, positions: Tensor, box: Tensor | None = None) -> Tensor:
        """Return the variables (..., n_components)."""
        z: Tensor = self.network(self.features(positions, box))
        return z


class Pairs(nn.Module):
    """Vectors between pairs of atoms, to the nearest image where that counts."""

    def __init__(self, places: dict[int, int], *, triclinic: bool) -> None:
        super().__init__()
        self.places, self.triclinic = places, triclinic
        self.known: dict[Pair, int] = {}

    def index(self, pair: Iterable[int], periodic: bool) -> int:
        """Return the place of a pair of atoms, which is taken up if it is new."""
        i, j = pair
        return self.known.setdefault((i, j, periodic), len(self.known))

    def freeze(self) -> None:
        """Turn the pairs into tensors: all are known."""
        i, j, near = zip(*self.known, strict=True)
        self.periodic = any(near)
        self.first, self.last = (
            nn.Buffer(torch.tensor([self.places[k] for k in side])) for side in (i, j)
        )
        self.near = nn.Buffer(torch.tensor(near, dtype=torch.float64)[:, None])
        self.images = nn.Buffer(torch.tensor(IMAGES, dtype=torch.float64))

    def forward(self, positions: Tensor, box: Tensor | None) -> Tensor:
        """Return vectors (..., n_pairs, 3) from the first atom to the second."""
        vectors = positions.index_select(-2, self.last) - positions.index_select(-2, self.first)
        if box is None or not self.periodic:
            return vectors
        with torch.no_grad():
            shift = self._to_nearest(vectors, box)
        return vectors + self.near * shift

    def _to_nearest(self, vectors: Tensor, box: Tensor) -> Tensor:
        """Return what takes vectors to their shortest image; boxes are in reduced form."""
        shift = torch.zeros_like(vectors)
        for k in (2, 1, 0):
            ratio = (vectors + shift).narrow(-1, k, 1) / box[k, k]
            shift = shift - torch.round(ratio) * box[k]
        if not self.triclinic:
            return shift
        moves = self.images @ box
        lengths = ((vectors + shift).unsqueeze(-2) + moves).square().sum(-1)
        return shift + moves[lengths.argmin(-1)]


class Torsions(nn.Module):
    """Cosines and sines of torsion angles, each once, in the order of the features."""

    def __init__(self, features: Sequence[Torsion], pairs: Pairs) -> None:
        super().__init__()
        steps = [[pairs.index(f.atoms[k : k + 2], f.periodic) for k in range(3)] for f in features]
        angles = {tuple(step): k for k, step in enumerate(dict.fromkeys(map(tuple, steps)))}
        self.first, self.axis, self.last = (
            nn.Buffer(torch.tensor(side)) for side in zip(*angles, strict=True)
        )
        sine = len(angles) * np.array([f.function == "sin" for f in features])
        numbers = np.array([angles[tuple(step)] for step in steps])
        self.columns = nn.Buffer(torch.from_numpy(sine + numbers))

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the columns, without the angles themselves, whose derivatives jump."""
        first, axis, last = (
            vectors.index_select(-2, side) for side in (self.first, self.axis, self.last)
        )
        left, right = torch.linalg.cross(first, axis), torch.linalg.cross(axis, last)
        cosine = (left * right).sum(-1)
        sine = axis.square().sum(-1).sqrt() * (first * right).sum(-1)
        norm = (cosine * cosine + sine * sine).rsqrt()
        both = torch.cat([cosine * norm, sine * norm], dim=-1)
        return both.index_select(-1, self.columns)


class Least(nn.Module):
    """The least distance of each group of pairs, and its switching function if there is one."""

    def __init__(self, features: Sequence[Distance | Contact], pairs: Pairs) -> None:
        super().__init__()
        distances = [f.distance if isinstance(f, Contact) else f for f in features]
        indices = [[pairs.index(pair, d.periodic) for pair in d.pairs] for d in distances]
        most = max(map(len, indices))
        self.width = most
        # repeated pairs are the same number: the least does not change, nor does its derivative
        padded = [one + one[:1] * (most - len(one)) for one in indices]
        self.pairs = nn.Buffer(torch.tensor(padded).ravel())
        self.switched = isinstance(features[0], Contact)
        if self.switched:
            self.switch = Switch(features)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return one column per feature."""
        r = _lengths(vectors).index_select(-1, self.pairs)
        if self.width > 1:
            r = _grouped(r, self.width).amin(-1)
        least: Tensor = self.switch(r) if self.switched else r
        return least


class Coordinations(nn.Module):
    """Coordination numbers of equally many other atoms."""

    def __init__(self, features: Sequence[Coordination], pairs: Pairs) -> None:
        super().__init__()
        self.width = len(features[0].others)
        indices = [[pairs.index((f.atom, o), f.periodic) for o in f.others] for f in features]
        self.pairs = nn.Buffer(torch.tensor(indices).ravel())
        self.switch = Switch([f for f in features for _ in f.others])

    def forward(self, vectors: Tensor) -> Tensor:
        """Return one column per feature."""
        near = self.switch(_lengths(vectors).index_select(-1, self.pairs))
        return _grouped(near, self.width).sum(-1)


class Sorted(nn.Module):
    """Coordination numbers of one set of atoms, by their places in ascending order."""

    def __init__(self, features: Sequence[Ranked], pairs: Pairs) -> None:
        super().__init__()
        self.numbers = Coordinations(features[0].numbers, pairs)
        self.places = nn.Buffer(torch.tensor([f.place for f in features]))

    def forward(self, vectors: Tensor) -> Tensor:
        """Return one column per feature."""
        ranked: Tensor = self.numbers(vectors).sort(dim=-1).values
        return ranked.index_select(-1, self.places)


class Switch(nn.Module):
    """1 / (1 + (r / r0)^n), each column with its own r0 and n."""

    def __init__(self, features: Iterable[Any]) -> None:
        super().__init__()
        r0, exponent = zip(*((f.r0, f.exponent) for f in features), strict=True)
        self.r0, self.exponent = (
            nn.Buffer(torch.tensor(side, dtype=torch.float64)) for side in (r0, exponent)
        )

    def forward(self, r: Tensor) -> Tensor:
        """Return the function of distances (..., n_columns)."""
        return 1 / (1 + (r / self.r0) ** self.exponent)


def _grouped(columns: Tensor, width: int) -> Tensor:
    """Return columns in groups of equally many, (..., n_groups, width)."""
    return columns.unfold(-1, width, width)


def _lengths(vectors: Tensor) -> Tensor:
    return vectors.square().sum(-1).sqrt()


def _kind(feature: Feature) -> tuple[str, Any]:
    """Return what features of one module have in common."""
    if isinstance(feature, Coordination):
        return "Coordination", (len(feature.others),)
    if isinstance(feature, Ranked):
        first = feature.numbers[0]
        atoms = tuple(number.atom for number in feature.numbers)
        return "Ranked", (atoms, first.r0, first.exponent, first.periodic)
    several = isinstance(feature, Contact | Distance) and len(_distance(feature).pairs) > 1
    return type(feature).__name__, (several,)


def _distance(feature: Distance | Contact) -> Distance:
    return feature.distance if isinstance(feature, Contact) else feature


def _module(features: Sequence[Any], pairs: Pairs) -> nn.Module:
    kinds: dict[type, type[nn.Module]] = {
        Torsion: Torsions, Distance: Least, Contact: Least, Coordination: Coordinations,
        Ranked: Sorted,
    }  # fmt: skip
    return kinds[type(features[0])](features, pairs)


# ------------------------------------------------------------------ atoms and traces


def atoms_of(recipe: Recipe) -> list[int]:
    """Return the atoms that the features need, ascending."""
    return sorted({atom for feature in recipe.features for atom in _atoms(feature)})


def _atoms(feature: Feature) -> Atoms:
    if isinstance(feature, Torsion):
        return feature.atoms
    if isinstance(feature, Coordination):
        return (feature.atom, *feature.others)
    if isinstance(feature, Ranked):
        return tuple(number.atom for number in feature.numbers)
    return tuple(atom for pair in _distance(feature).pairs for atom in pair)


def traced(module: nn.Module, *examples: Tensor) -> torch.jit.ScriptModule:
    """Return a module as a graph that runs without Python."""
    with muted(DEPRECATED):
        graph: torch.jit.ScriptModule = torch.jit.trace(  # type: ignore[no-untyped-call]
            module.eval(), examples, check_trace=False
        )
    return graph


def with_derivatives(module: FromPositions, *examples: Tensor) -> Traced:
    """Return a function of positions, or of them and a box: variables, and their derivatives.

    Autograd's pass is recorded once as a graph: as it comes it costs three times as much.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    n = module.network.n_variables

    def both(x: Tensor, *cell: Tensor) -> tuple[Tensor, Tensor]:
        each = x.expand(n, *x.shape).clone().requires_grad_(True)
        z = module(each, *cell)
        (derivatives,) = torch.autograd.grad(z.diagonal().sum(), each)
        return z[0].detach(), derivatives

    graph = traced(make_fx(both)(*examples), *examples)
    with muted(DEPRECATED):
        function: Traced = torch.jit.freeze(graph)
    return function
