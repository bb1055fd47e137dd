"""Collective variables as an input of PLUMED's own actions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import singledispatch
from importlib.metadata import version
from typing import Any

from latflow._typing import FloatArray
from latflow._validation import check_count, check_option, check_output
from latflow._writing import replacing
from latflow.estimators.seam import Layers
from latflow.export.lepton import contact, number, shifted
from latflow.export.recipe import (
    Atoms,
    Contact,
    Coordination,
    Distance,
    Feature,
    Model,
    Ranked,
    Recipe,
    Torsion,
)
from latflow.featurizers import Featurizer

__all__ = ["plumed"]

NETWORKS = ("auto", "custom", "ann")
MOST_CUSTOM = 64  # hidden units, each of them two actions
MOST_PAIRS = 1000  # of atoms, in the least distance of two residues

Actions = dict[str, str]  # by their labels, which tell what they compute


def plumed(
    model: Model,
    path: str | os.PathLike[str],
    *,
    featurizer: Featurizer | Mapping[str, Any] | None = None,
    network: str = "auto",
    stride: int = 500,
) -> None:
    """Write collective variables as an input of PLUMED 2 that needs no LibTorch.

    Every feature, every hidden unit and every variable (``z1``, ``z2``, ...) is an action of its
    own, so that whatever PLUMED does to a variable follows below: METAD ARG=z1,z2 and so on. A
    PRINT action writes the variables to COLVAR.

    Parameters
    ----------
    model : LaTFEstimator, or TemperatureExtrapolator of one
        Fitted on the features of a featurizer.
    path : str or path-like
        Text file to write; an old one is replaced when all is written.
    featurizer : Featurizer or mapping, optional
        The fitted featurizer of the model's features, or its manifest. By default the manifest
        that the model kept.
    network : {"auto", "custom", "ann"}, default="auto"
        Hidden layers as COMBINE and CUSTOM, which every build of PLUMED has, or as ANN of the
        module annfunc, which has to be asked for where PLUMED is built. "auto" takes ANN for more
        than 64 hidden units. A linear encoder has no hidden layers.
    stride : int, default=500
        Steps from one line of COLVAR to the next.

    Raises
    ------
    TypeError
        If the variables are not those of a LaTFEstimator.
    ValueError
        If it is unknown how the features were made, or PLUMED has no action for them: aligned
        positions, G-vectors, the least of more than 1000 distances.
    OSError
        If the file cannot be written.

    Notes
    -----
    Atoms are numbered from 1 in the order of the featurizer's topology, lengths are in nm and
    angles in rad. Contacts are CUSTOM functions of distances and not CONTACTMAP, so that they are
    those of :class:`~latflow.featurizers.Contacts` at every distance.

    References
    ----------
    Tribello et al., PLUMED 2: New feathers for an old bird, Comput. Phys. Commun. 185, 604 (2014).

    Examples
    --------
    >>> import mdtraj, numpy as np, tempfile
    >>> from pathlib import Path
    >>> from latflow import LaTFEstimator
    >>> from latflow.export import plumed
    >>> from latflow.featurizers import Distances
    >>> top = mdtraj.Topology()
    >>> chain = top.add_chain()
    >>> for k in range(2):
    ...     atom = top.add_atom("Ar", mdtraj.element.argon, top.add_residue("AR", chain))
    >>> xyz = np.random.default_rng(0).normal(0, 0.02, (2000, 2, 3))
    >>> xyz[:, 1, 0] += 0.4 + 0.4 * (np.arange(2000) // 100 % 2)
    >>> X = Distances([[0, 1]]).fit_transform([mdtraj.Trajectory(xyz, top)])
    >>> model = LaTFEstimator(10, 1, encoder="linear", max_iter=320, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plumed(model, Path(folder) / "plumed.dat")
    ...     text = (Path(folder) / "plumed.dat").read_text()
    >>> for line in text.splitlines():
    ...     if line.startswith(("d_1_2", "PRINT")):
    ...         print(line)
    d_1_2: DISTANCE ATOMS=1,2
    PRINT ARG=z1 STRIDE=500 FILE=COLVAR
    """
    check_count(stride, "stride")
    target = check_output(path)
    recipe = Recipe.of(model, featurizer)
    lines = [*actions_of(recipe, network), printed(recipe.variables, stride)]
    with replacing(target) as unfinished:
        unfinished.write_text("\n".join(lines) + "\n")


def actions_of(recipe: Recipe, network: str, modules: Sequence[str] = ()) -> list[str]:
    """Return the lines that compute the variables, below a head that names modules needed."""
    check_option(network, "network", NETWORKS)
    many = network == "ann" or (network == "auto" and recipe.n_hidden > MOST_CUSTOM)
    with_ann = many and recipe.n_hidden > 0
    needed = [*(["annfunc, for ANN"] if with_ann else []), *modules]
    return [
        *_head(recipe, "; ".join(needed) or "none"),
        *_features(recipe),
        *(_ann(recipe) if with_ann else _combinations(recipe)),
    ]


def printed(arguments: Sequence[str], stride: int) -> str:
    """Return the action that writes values to COLVAR."""
    return f"PRINT ARG={','.join(arguments)} STRIDE={stride} FILE=COLVAR"


def _head(recipe: Recipe, modules: str) -> Iterator[str]:
    yield f"# {', '.join(recipe.variables)}: collective variables of latflow {version('latflow')}"
    yield f"# Modules of PLUMED beyond a default build: {modules}"
    yield f"# Atoms are numbered from 1, as the {recipe.topology.n_atoms} of the model's topology"
    yield "# Units: nm and rad; the variables are not periodic"
    yield "UNITS LENGTH=nm"


def _features(recipe: Recipe) -> Iterator[str]:
    """Yield the actions of all features, each action once, after the names of the features."""
    done: set[str] = set()
    for k, (name, feature) in enumerate(zip(recipe.names, recipe.features, strict=True), start=1):
        yield f"# {_argument(feature, k)} is {name}"
        for label, action in _actions(feature, k).items():
            if label not in done:
                yield f"{label}: {action}"
                done.add(label)


def _arguments(recipe: Recipe) -> list[str]:
    return [_argument(feature, k) for k, feature in enumerate(recipe.features, start=1)]


# ------------------------------------------------------------------ features


@singledispatch
def _argument(feature: Feature, k: int) -> str:
    """Return by which text other actions read a feature, the k-th from 1."""
    return f"f{k}"


@_argument.register
def _(feature: Distance, k: int) -> str:
    return f"f{k}.lowest" if len(feature.pairs) > 1 else _label("d", feature.pairs[0], feature)


@_argument.register
def _(feature: Ranked, k: int) -> str:
    return f"{_sorted(feature, k)}.{feature.place + 1}"


@singledispatch
def _actions(feature: Feature, k: int) -> Actions:
    """Return the actions that compute a feature, the k-th from 1."""
    raise NotImplementedError


@_actions.register
def _(feature: Distance, k: int) -> Actions:
    image = "" if feature.periodic else " NOPBC"
    if len(feature.pairs) == 1:
        return {_argument(feature, k): f"DISTANCE ATOMS={_atoms(feature.pairs[0])}{image}"}
    if len(feature.pairs) > MOST_PAIRS:
        raise ValueError(
            f"Expected features of at most {MOST_PAIRS} atom pairs each, got the least distance of "
            f"{len(feature.pairs)}: take scheme='ca'."
        )
    one, other = (_atoms(dict.fromkeys(side)) for side in zip(*feature.pairs, strict=True))
    return {f"f{k}": f"DISTANCES GROUPA={one} GROUPB={other} LOWEST{image}"}


@_actions.register
def _(feature: Contact, k: int) -> Actions:
    distance = _actions(feature.distance, k)
    label, action = distance.popitem()
    argument = label
    if len(feature.distance.pairs) > 1:
        label = f"f{k}_r"
        argument = f"{label}.lowest"
    function = contact("x", feature.r0, feature.exponent)
    return {label: action, f"f{k}": f"CUSTOM ARG={argument} FUNC={function} PERIODIC=NO"}


@_actions.register
def _(feature: Torsion, k: int) -> Actions:
    label, image = _label("t", feature.atoms, feature), "" if feature.periodic else " NOPBC"
    return {
        label: f"TORSION ATOMS={_atoms(feature.atoms)}{image}",
        f"f{k}": f"CUSTOM ARG={label} FUNC={feature.function}(x) PERIODIC=NO",
    }


@_actions.register
def _(feature: Coordination, k: int) -> Actions:
    return {f"f{k}": _coordination(feature)}


@_actions.register
def _(feature: Ranked, k: int) -> Actions:
    label = _sorted(feature, k)
    labels = [f"{label}_{number.atom + 1}" for number in feature.numbers]
    numbers = dict(zip(labels, map(_coordination, feature.numbers), strict=True))
    return numbers | {label: f"SORT ARG={','.join(labels)}"}


def _coordination(feature: Coordination) -> str:
    n = feature.exponent
    return (
        f"COORDINATION GROUPA={feature.atom + 1} GROUPB={_atoms(feature.others)} "
        f"SWITCH={{RATIONAL R_0={number(feature.r0)} NN={n} MM={2 * n}}}"
        f"{'' if feature.periodic else ' NOPBC'}"
    )


def _sorted(feature: Ranked, k: int) -> str:
    """Return the label of all the sorted numbers, after the feature that is the least of them."""
    return f"s{k - feature.place}"


def _label(letter: str, atoms: Atoms, feature: Distance | Torsion) -> str:
    return "_".join([letter, *(str(a + 1) for a in atoms)]) + ("" if feature.periodic else "_nopbc")


def _atoms(atoms: Iterable[int]) -> str:
    return ",".join(str(atom + 1) for atom in atoms)


# ------------------------------------------------------------------ network


def _combinations(recipe: Recipe) -> Iterator[str]:
    """Yield a COMBINE and a CUSTOM for each unit of the network."""
    arguments = _arguments(recipe)
    *hidden, last = recipe.layers
    for k, (weights, biases) in enumerate(hidden, start=1):
        labels = [f"h{k}_{j}" for j in range(1, len(biases) + 1)]
        yield from _layer(labels, arguments, weights, biases, "tanh({})")
        arguments = labels
    yield from _layer(recipe.variables, arguments, *last, "{}")


def _layer(
    labels: Sequence[str],
    arguments: Sequence[str],
    weights: FloatArray,
    biases: FloatArray,
    function: str,
) -> Iterator[str]:
    for label, row, bias in zip(labels, weights, biases, strict=True):
        yield f"{label}_sum: COMBINE ..."
        yield f"  ARG={','.join(arguments)}"
        yield f"  COEFFICIENTS={_numbers(row)}"
        yield "  PERIODIC=NO"
        yield "..."
        total = function.format(shifted("x", bias))
        yield f"{label}: CUSTOM ARG={label}_sum FUNC={total} PERIODIC=NO"


def _ann(recipe: Recipe) -> Iterator[str]:
    """Yield one ANN for the network, and a COMBINE that names each of its nodes."""
    layers: Layers = recipe.layers
    sizes = [len(recipe.features), *(len(biases) for _, biases in layers)]
    yield "ann: ANN ..."
    yield f"  ARG={','.join(_arguments(recipe))}"
    yield f"  NUM_LAYERS={len(sizes)}"
    yield f"  NUM_NODES={','.join(map(str, sizes))}"
    yield f"  ACTIVATIONS={','.join(['Tanh'] * (len(layers) - 1) + ['Linear'])}"
    for k, (weights, biases) in enumerate(layers):
        yield f"  WEIGHTS{k}={_numbers(weights.ravel())}"
        yield f"  BIASES{k}={_numbers(biases)}"
    yield "..."
    for k, label in enumerate(recipe.variables):
        yield f"{label}: COMBINE ARG=ann.node-{k} PERIODIC=NO"


def _numbers(values: FloatArray) -> str:
    return ",".join(map(number, values))
