"""Collective variables as a configuration of the Colvars module."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import singledispatch
from importlib.metadata import version
from pathlib import Path
from typing import Any

from latflow._validation import check_option, check_output
from latflow._writing import write_together
from latflow.export.lepton import DEGREE, contact, least, number, weighted_sum
from latflow.export.recipe import Contact, Coordination, Distance, Feature, Model, Recipe, Torsion
from latflow.featurizers import Featurizer

__all__ = ["colvars"]

# lengths in nm, by the names that Colvars has for engines' systems of units
LENGTHS = {"real": 0.1, "metal": 0.1, "gromacs": 1.0}
NETWORKS = ("auto", "function", "files")
# a customFunction is differentiated by every component at the start: these take some seconds
MOST_COMPONENTS = 50
MOST_PRODUCTS = 1000  # weights times components, with hidden layers
MOST_PAIRS = 100  # of atoms, in the least distance of two residues

Components = dict[str, str]  # by their names, which tell what they compute


def colvars(
    model: Model,
    path: str | os.PathLike[str],
    *,
    featurizer: Featurizer | Mapping[str, Any] | None = None,
    units: str = "real",
    network: str = "auto",
) -> list[Path]:
    """Write collective variables for Colvars, of NAMD, GROMACS, LAMMPS, VMD and Tinker-HP.

    Every variable is a colvar (``z1``, ``z2``, ...) of distances and dihedral angles; a bias on
    them follows below: metadynamics { colvars z1 z2 ... } and so on.

    Parameters
    ----------
    model : LaTFEstimator, or TemperatureExtrapolator of one
        Fitted on the features of a featurizer.
    path : str or path-like
        Text file to write; an old one is replaced when all is written.
    featurizer : Featurizer or mapping, optional
        The fitted featurizer of the model's features, or its manifest. By default the manifest
        that the model kept.
    units : {"real", "metal", "gromacs"}, default="real"
        The engine's units: "gromacs" (nm) for GROMACS, "real" or "metal" (angstrom) as LAMMPS' own
        ``units``, "real" for NAMD, VMD and Tinker-HP. Colvars stops where they are another.
    network : {"auto", "function", "files"}, default="auto"
        The whole model as one customFunction, or as a neuralNetwork component that reads weights
        and biases from files beside `path`: ``<name>.layer1.weights`` and so on, to be kept in the
        folder where the simulation runs. A customFunction is differentiated by every distance and
        dihedral when the simulation starts, which takes minutes for large models: "auto" takes
        files for more than 50 of them, and for hidden layers where their number times that of
        weights is beyond 1000.

    Returns
    -------
    list of Path
        The files that were written, `path` first.

    Raises
    ------
    TypeError
        If the variables are not those of a LaTFEstimator.
    ValueError
        If it is unknown how the features were made, or Colvars cannot compute them: aligned
        positions, G-vectors, sorted coordination numbers, the least of more than 100 distances.
    OSError
        If a file cannot be written.

    Notes
    -----
    Atoms are numbered from 1 in the order of the featurizer's topology. Dihedral angles are in
    degrees in Colvars, which the functions convert. Colvars has to be built with Lepton.

    References
    ----------
    Fiorin, Klein, Hénin, Using collective variables to drive molecular dynamics simulations, Mol.
    Phys. 111, 3345 (2013).
    """
    check_option(units, "units", LENGTHS)
    target = check_output(path)
    recipe = Recipe.of(model, featurizer)
    blocks, files = blocks_of(recipe, target.name, units, network)
    return written_files(target, blocks, files)


def blocks_of(
    recipe: Recipe,
    name: str,
    units: str,
    network: str,
    options: Sequence[Sequence[str]] | None = None,
) -> tuple[list[str], dict[str, str]]:
    """Return the text of the variables, block by block, and files beside it by their names.

    `name` is that of the file to write; `options` are lines of each variable's own.
    """
    check_option(network, "network", NETWORKS)
    written = [_written(feature, LENGTHS[units]) for feature in recipe.features]
    options = [()] * len(recipe.variables) if options is None else options
    blocks = list(_head(recipe, units))
    if network == "files" or (network == "auto" and _starts_slowly(recipe, written)):
        files = _layer_files(recipe, name)
        return [*blocks, *_networks(recipe, written, list(files), options)], files
    return [*blocks, *_functions(recipe, written, options)], {}


def written_files(target: Path, blocks: Sequence[str], files: Mapping[str, str]) -> list[Path]:
    """Write a configuration and the files beside it, all or none."""
    texts = {target.name: "\n".join(blocks) + "\n"} | dict(files)
    return write_together({check_output(target.with_name(n)): text for n, text in texts.items()})


def _starts_slowly(recipe: Recipe, written: Sequence[Written]) -> bool:
    """Whether Colvars would take long to differentiate the model as one function."""
    n_components = len({name for _, blocks in written for name in blocks})
    n_weights = sum(weights.size for weights, _ in recipe.layers)
    large = recipe.n_hidden > 0 and n_weights * n_components > MOST_PRODUCTS
    return large or n_components > MOST_COMPONENTS


def _head(recipe: Recipe, units: str) -> Iterator[str]:
    yield f"# {', '.join(recipe.variables)}: collective variables of latflow {version('latflow')}"
    yield f"# Atoms are numbered from 1, as the {recipe.topology.n_atoms} of the model's topology"
    yield "# The variables are not periodic; Colvars has to be built with Lepton"
    for label, name in zip(_labels(recipe), recipe.names, strict=True):
        yield f"# {label} is {name}"
    yield f"units {units}"


def _labels(recipe: Recipe) -> list[str]:
    """Return short names of features whose order is theirs: neuralNetwork sorts by name."""
    n = len(recipe.features)
    return [f"f{k:0{len(str(n))}}" for k in range(1, n + 1)]


# ------------------------------------------------------------------ features

Written = tuple[str, Components]  # the function, and the components that it reads


@singledispatch
def _written(feature: Feature, length: float) -> Written:
    """Return how Colvars computes a feature; `length` is the engine's unit, in nm."""
    raise ValueError(
        "Expected features that Colvars computes (distances, contacts, torsions, coordination "
        "numbers), got sorted coordination numbers: take sort=False, or PLUMED."
    )


@_written.register
def _(feature: Distance, length: float) -> Written:
    if len(feature.pairs) > MOST_PAIRS:
        raise ValueError(
            f"Expected features of at most {MOST_PAIRS} atom pairs each, got the least distance of "
            f"{len(feature.pairs)}: take scheme='ca', or PLUMED."
        )
    blocks = dict(_component("distance", pair, feature.periodic) for pair in feature.pairs)
    return f"{number(length)}*{least(list(blocks))}", blocks


@_written.register
def _(feature: Contact, length: float) -> Written:
    distance, blocks = _written(feature.distance, length)
    return contact(distance, feature.r0, feature.exponent), blocks


@_written.register
def _(feature: Torsion, length: float) -> Written:
    name, block = _component("dihedral", feature.atoms, feature.periodic)
    return f"{feature.function}({DEGREE}*{name})", {name: block}


@_written.register
def _(feature: Coordination, length: float) -> Written:
    # coordNum has even exponents only, ignores forceNoPBC, and has no forces inside of a component
    pairs = [(feature.atom, other) for other in feature.others]
    blocks = dict(_component("distance", pair, feature.periodic) for pair in pairs)
    near = (contact(f"{number(length)}*{name}", feature.r0, feature.exponent) for name in blocks)
    return "+".join(near), blocks


def _component(kind: str, atoms: Sequence[int], periodic: bool) -> tuple[str, str]:
    """Return name and text of a distance or a dihedral of single atoms."""
    letter = {"distance": "d", "dihedral": "t"}[kind]
    name = "_".join([letter, *(str(a + 1) for a in atoms)]) + ("" if periodic else "_nopbc")
    groups = [f"group{j} {{ atomNumbers {a + 1} }}" for j, a in enumerate(atoms, start=1)]
    image = [] if periodic else ["forceNoPBC on"]
    return name, block(kind, [f"name {name}", *image, *groups])


# ------------------------------------------------------------------ network


def _functions(
    recipe: Recipe, written: Sequence[Written], options: Sequence[Sequence[str]]
) -> Iterator[str]:
    """Yield a colvar of one customFunction each; it defines from the last layer to the first."""
    arguments = _labels(recipe)
    lines = [f"{f}={function}" for f, (function, _) in zip(arguments, written, strict=True)]
    *hidden, (weights, biases) = recipe.layers
    for k, layer in enumerate(hidden, start=1):
        units = [f"h{k}_{j}" for j in range(1, len(layer[1]) + 1)]
        sums = (weighted_sum(row, arguments, bias) for row, bias in zip(*layer, strict=True))
        lines += [f"{unit}=tanh({total})" for unit, total in zip(units, sums, strict=True)]
        arguments = units
    components = {name: block for _, blocks in written for name, block in blocks.items()}
    rows = zip(recipe.variables, weights, biases, options, strict=True)
    for name, row, bias, own in rows:
        function = ";\n".join([weighted_sum(row, arguments, bias), *reversed(lines)])
        body = [f"name {name}", *own, block("customFunction", [function]), *components.values()]
        yield block("colvar", body)


def _networks(
    recipe: Recipe,
    written: Sequence[Written],
    files: Sequence[str],
    options: Sequence[Sequence[str]],
) -> Iterator[str]:
    """Yield a colvar of one neuralNetwork each, which reads its layers from files."""
    layers = []
    for k in range(1, len(recipe.layers) + 1):
        weights, biases = files[2 * k - 2 : 2 * k]
        layers += [f"layer{k}_weightsFile {weights}", f"layer{k}_biasesFile {biases}"]
        layers += [f"layer{k}_activation {'tanh' if k < len(recipe.layers) else 'linear'}"]
    features = [
        block("customColvar", [f"name {k}", f"customFunction {function}", *blocks.values()])
        for k, (function, blocks) in zip(_labels(recipe), written, strict=True)
    ]
    for k, (name, own) in enumerate(zip(recipe.variables, options, strict=True)):
        network = block("neuralNetwork", [f"output_component {k}", *layers, *features])
        yield block("colvar", [f"name {name}", *own, network])


def _layer_files(recipe: Recipe, name: str) -> dict[str, str]:
    """Return names and contents of the files of weights (a line per unit) and of biases."""
    files = {}
    for k, (weights, biases) in enumerate(recipe.layers, start=1):
        files[f"{name}.layer{k}.weights"] = _lines(" ".join(map(number, row)) for row in weights)
        files[f"{name}.layer{k}.biases"] = _lines(map(number, biases))
    return files


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def block(kind: str, body: Iterable[str]) -> str:
    """Return a keyword with lines in braces."""
    inside = "\n".join(body).replace("\n", "\n  ")
    return f"{kind} {{\n  {inside}\n}}"
