"""The few actions of PLUMED that exported inputs use, as its manual describes them, in numpy."""

import re

import numpy as np
from export_cases import distance, lepton, switched, torsion

# keywords and flags of each action, as far as they are used
KEYWORDS = {
    "UNITS": {"LENGTH"},
    "DISTANCE": {"ATOMS", "NOPBC"},
    "DISTANCES": {"GROUPA", "GROUPB", "LOWEST", "NOPBC"},
    "TORSION": {"ATOMS", "NOPBC"},
    "COORDINATION": {"GROUPA", "GROUPB", "SWITCH", "NOPBC"},
    "SORT": {"ARG"},
    "CUSTOM": {"ARG", "FUNC", "PERIODIC"},
    "COMBINE": {"ARG", "COEFFICIENTS", "PERIODIC"},
    "ANN": {"ARG", "NUM_LAYERS", "NUM_NODES", "ACTIVATIONS"}
    | {f"{word}{k}" for word in ("WEIGHTS", "BIASES") for k in range(9)},
    "PRINT": {"ARG", "STRIDE", "FILE"},
}
WORD = re.compile(r"[A-Z_0-9]+=\{[^}]*\}|\S+")


def evaluate(text, trajectory):
    """Return the values of all labels, by name, in every frame."""
    box = None if trajectory.unitcell_lengths is None else trajectory.unitcell_lengths[0]
    frames = trajectory.xyz.astype(np.float64), None if box is None else box.astype(np.float64)
    values = {}
    for label, action, words in actions(text):
        known = dict(word.partition("=")[::2] for word in words)
        if not known.keys() <= KEYWORDS[action]:
            raise ValueError(f"Unknown keywords of {action}: {known.keys() - KEYWORDS[action]}")
        if label in values:
            raise ValueError(f"Label {label} is taken.")
        if label is not None:
            values |= ACTIONS[action](label, known, values, frames)
    return values


def actions(text):
    """Yield label or None, action and the other words of every action, continued lines joined."""
    continued = None
    for line in text.splitlines():
        words = WORD.findall(line.partition("#")[0])
        if continued is not None and words != ["..."]:
            continued += words
        elif words and words[-1] == "..." and continued is None:
            continued = words[:-1]
        elif words:
            words, continued = continued or words, None
            label = words.pop(0).removesuffix(":") if words[0].endswith(":") else None
            yield label, words[0], words[1:]


def _numbers(text):
    return np.array([float(number) for number in text.split(",")])


def _atoms(text):
    atoms = [int(number) - 1 for number in text.split(",")]
    if min(atoms) < 0 or len(set(atoms)) < len(atoms):
        raise ValueError(f"Wrong atoms: {text}")
    return atoms


def _box(known, box):
    return None if "NOPBC" in known else box


def _arguments(known, values):
    return [values[name] for name in known["ARG"].split(",")]


def _distance(label, known, values, frames):
    xyz, box = frames
    return {label: distance(xyz, *_atoms(known["ATOMS"]), _box(known, box))}


def _distances(label, known, values, frames):
    pairs = _pairs(known, *frames)
    return {f"{label}.lowest": pairs.min(axis=0)} if "LOWEST" in known else {}


def _pairs(known, xyz, box):
    groups = _atoms(known["GROUPA"]), _atoms(known["GROUPB"])
    return np.array([distance(xyz, i, j, _box(known, box)) for i in groups[0] for j in groups[1]])


def _torsion(label, known, values, frames):
    xyz, box = frames
    return {label: torsion(xyz, _atoms(known["ATOMS"]), _box(known, box))}


def _coordination(label, known, values, frames):
    kind, *words = known["SWITCH"].strip("{}").split()
    parameters = dict(word.split("=") for word in words)
    if kind != "RATIONAL" or parameters.keys() != {"R_0", "NN", "MM"}:
        raise ValueError(f"Unknown switching function: {known['SWITCH']}")
    r0, n, m = float(parameters["R_0"]), int(parameters["NN"]), int(parameters["MM"])
    return {label: switched(_pairs(known, *frames), r0, n, m).sum(axis=0)}


def _sort(label, known, values, frames):
    rows = np.sort(_arguments(known, values), axis=0)
    return {f"{label}.{k}": row for k, row in enumerate(rows, start=1)}


def _custom(label, known, values, frames):
    (x,) = _arguments(known, values)
    return {label: lepton(known["FUNC"], {"x": x})} if known["PERIODIC"] == "NO" else {}


def _combine(label, known, values, frames):
    arguments = _arguments(known, values)
    weights = _numbers(known["COEFFICIENTS"]) if "COEFFICIENTS" in known else np.ones(1)
    total = sum(w * x for w, x in zip(weights, arguments, strict=True))
    return {label: total} if known["PERIODIC"] == "NO" else {}


def _ann(label, known, values, frames):
    x, sizes = np.array(_arguments(known, values)), _numbers(known["NUM_NODES"]).astype(int)
    names = known["ACTIVATIONS"].split(",")
    if len(x) != sizes[0] or not len(sizes) == int(known["NUM_LAYERS"]) == len(names) + 1:
        raise ValueError("Wrong numbers of arguments or layers of ANN.")
    for k, name in enumerate(names):
        weights = _numbers(known[f"WEIGHTS{k}"]).reshape(sizes[k + 1], sizes[k])
        x = weights @ x + _numbers(known[f"BIASES{k}"])[:, None]
        x = {"Tanh": np.tanh, "Linear": np.asarray}[name](x)
    return {f"{label}.node-{k}": row for k, row in enumerate(x)}


ACTIONS = {
    "DISTANCE": _distance,
    "DISTANCES": _distances,
    "TORSION": _torsion,
    "COORDINATION": _coordination,
    "SORT": _sort,
    "CUSTOM": _custom,
    "COMBINE": _combine,
    "ANN": _ann,
}
