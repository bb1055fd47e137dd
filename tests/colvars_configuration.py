"""The few words of Colvars' configuration that exports use, as its manual says, in numpy."""

from pathlib import Path

import numpy as np
from export_cases import distance, lepton, switched, torsion

LENGTHS = {"real": 0.1, "metal": 0.1, "gromacs": 1.0}  # in nm
COMPONENTS = {"distance", "dihedral", "coordNum", "customColvar", "neuralNetwork"}


def parse(text):
    """Return keywords and values, in order; a value in braces is a text of its own."""
    lines = "\n".join(line.partition("#")[0] for line in text.splitlines())
    entries, rest = [], lines.strip()
    while rest:
        keyword, rest = rest.split(maxsplit=1)
        rest = rest.lstrip(" ")
        if rest.startswith("{"):
            end = _end_of_braces(rest)
            entries.append((keyword, rest[1:end].strip()))
            rest = rest[end + 1 :].strip()
        else:
            value, _, rest = rest.partition("\n")
            entries.append((keyword, value.strip()))
            rest = rest.strip()
    return entries


def _end_of_braces(text):
    depth = 0
    for k, letter in enumerate(text):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if depth == 0:
            return k
    raise ValueError("Braces that are not closed.")


def evaluate(path, trajectory):
    """Return the values of all colvars in every frame, by name."""
    configuration = parse(Path(path).read_text())
    units = LENGTHS[dict(configuration)["units"]]
    box = None if trajectory.unitcell_lengths is None else trajectory.unitcell_lengths[0] / units
    engine = trajectory.xyz.astype(np.float64) / units, box, Path(path).parent
    blocks = [text for keyword, text in configuration if keyword == "colvar"]
    return dict(_named(parse(text), engine) for text in blocks)


def _named(entries, engine):
    return dict(entries)["name"], _value(entries, engine)


def _value(entries, engine):
    """Return the function of the components of a block, or its only component."""
    components = dict(
        _component(kind, parse(text), engine) for kind, text in entries if kind in COMPONENTS
    )
    function = dict(entries).get("customFunction")
    if function is not None:
        return lepton(function, components)
    ((_, value),) = components.items()
    return value


def _component(kind, entries, engine):
    xyz, box, folder = engine
    options = dict(entries)
    atoms = [_atoms(text) for keyword, text in entries if keyword.startswith("group")]
    box = None if options.get("forceNoPBC") == "on" else box
    name = options.get("name", kind)
    if kind == "distance":
        ((i,), (j,)) = atoms
        return name, distance(xyz, i, j, box)
    if kind == "dihedral":
        return name, np.degrees(torsion(xyz, [one for (one,) in atoms], box))
    if kind == "coordNum":
        r = np.array([distance(xyz, i, j, box) for i in atoms[0] for j in atoms[1]])
        n, m = int(options["expNumer"]), int(options["expDenom"])
        if n % 2 or m % 2 or "forceNoPBC" in options:
            raise ValueError("coordNum needs even exponents, and takes the nearest images always.")
        return name, switched(r, float(options["cutoff"]), n, m).sum(axis=0)
    if kind == "customColvar":
        return name, _value(entries, engine)
    return name, _network(entries, engine, folder)


def _atoms(text):
    ((_, numbers),) = parse(text)
    atoms = [int(number) - 1 for number in numbers.split()]
    if min(atoms) < 0:
        raise ValueError(f"Wrong atoms: {text}")
    return atoms


def _network(entries, engine, folder):
    options = dict(entries)
    components = dict(
        _component(kind, parse(text), engine) for kind, text in entries if kind in COMPONENTS
    )
    x = np.array([components[name] for name in sorted(components)])  # as Colvars sorts them
    k = 1
    while f"layer{k}_weightsFile" in options:
        weights = np.loadtxt(folder / options[f"layer{k}_weightsFile"], ndmin=2)
        biases = np.loadtxt(folder / options[f"layer{k}_biasesFile"], ndmin=1)
        x = weights @ x + biases[:, None]
        x = {"tanh": np.tanh, "linear": np.asarray}[options[f"layer{k}_activation"]](x)
        k += 1
    return x[int(options["output_component"])]
