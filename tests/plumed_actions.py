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
    "EXTERNAL": {"ARG", "FILE"},
    "LOWER_WALLS": {"ARG", "AT", "KAPPA"},
    "UPPER_WALLS": {"ARG", "AT", "KAPPA"},
    "METAD": {"ARG", "SIGMA", "HEIGHT", "BIASFACTOR", "TEMP", "PACE", "FILE"}
    | {"GRID_MIN", "GRID_MAX", "GRID_BIN"},
    "OPES_METAD": {"ARG", "SIGMA", "BARRIER", "TEMP", "PACE", "FILE"},
}
WORD = re.compile(r"[A-Z_0-9]+=\{[^}]*\}|\S+")


def evaluate(text, trajectory, folder=None):
    """Return the values of all labels, by name, in every frame; `folder` holds grids."""
    box = None if trajectory.unitcell_lengths is None else trajectory.unitcell_lengths[0]
    frames = trajectory.xyz.astype(np.float64), None if box is None else box.astype(np.float64)
    values = {}
    for label, action, words in actions(text):
        known = dict(word.partition("=")[::2] for word in words)
        if not known.keys() <= KEYWORDS[action]:
            raise ValueError(f"Unknown keywords of {action}: {known.keys() - KEYWORDS[action]}")
        if label in values:
            raise ValueError(f"Label {label} is taken.")
        if "FILE" in known and action == "EXTERNAL":
            known["FILE"] = read_grid(folder / known["FILE"])
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


def read_grid(path):
    """Return names, axes, and values and slopes on the grid, as PLUMED reads a file of them."""
    fields, constants, rows = [], {}, []
    for line in path.read_text().splitlines():
        words = line.split()
        if words[:2] == ["#!", "FIELDS"]:
            fields = words[2:]
        elif words[:2] == ["#!", "SET"]:
            constants[words[2]] = words[3]
        elif words:
            rows.append([float(word) for word in words])
    names = [name.removeprefix("min_") for name in constants if name.startswith("min_")]
    if fields[: len(names)] != names or {constants[f"periodic_{n}"] for n in names} != {"false"}:
        raise ValueError("Expected variables that are not periodic, first and in order.")
    axes = [
        np.linspace(*(float(constants[f"{end}_{n}"]) for end in ("min", "max")),
                    int(constants[f"nbins_{n}"]))
        for n in names
    ]  # fmt: skip
    # where a row stands follows from its variables, as half a step is added and cut off
    table, steps = np.array(rows), [axis[1] - axis[0] for axis in axes]
    places = [
        np.floor((table[:, k] + step / 2 - axis[0]) / step).astype(int)
        for k, (axis, step) in enumerate(zip(axes, steps, strict=True))
    ]
    grid = np.full((*map(len, axes), 1 + len(names)), np.nan)
    columns = [*range(len(names), len(fields))]
    if [fields[k] for k in columns[1:]] != [f"der_{n}" for n in names]:
        raise ValueError("Expected a derivative by each variable.")
    grid[tuple(places)] = table[:, columns]
    return names, fields[len(names)], axes, grid


def interpolated(axes, grid, points):
    """Return values between grid points, of each dimension's cubic polynomials as one product."""
    total = np.zeros(len(points))
    steps = np.array([axis[1] - axis[0] for axis in axes])
    place = (points - [axis[0] for axis in axes]) / steps
    floor = np.floor(place).astype(int)
    if (floor < 0).any() or (floor >= grid.shape[:-1]).any():
        raise ValueError("A value outside of the grid.")
    for corner in np.ndindex(*(2,) * len(axes)):
        at = floor + corner
        inside = (at < grid.shape[:-1]).all(axis=1)
        value, *slopes = grid[tuple(np.where(inside[:, None], at, 0).T)].T
        product = np.ones(len(points))
        for k, side in enumerate(corner):
            x = np.abs(place[:, k] - floor[:, k] - side)
            ratio = np.where(np.abs(value) < 1e-7, 0.0, -slopes[k] / value)
            sign = -1.0 if side else 1.0
            product *= (1 - 3 * x**2 + 2 * x**3) - sign * ratio * (x - 2 * x**2 + x**3) * steps[k]
        total += np.where(inside, value * product, 0.0)
    return total


def _external(label, known, values, frames):
    names, column, axes, grid = known["FILE"]
    if known["ARG"].split(",") != names or column != f"{label}.bias" or np.isnan(grid).any():
        raise ValueError("Expected a grid of the arguments, whole.")
    points = np.column_stack(_arguments(known, values))
    return {f"{label}.bias": interpolated(axes, grid, points)}


def _walls(sign):
    def walls(label, known, values, frames):
        edges, stiffness = _numbers(known["AT"]), _numbers(known["KAPPA"])
        beyond = [sign * (x - a) for x, a in zip(_arguments(known, values), edges, strict=True)]
        each = [k * np.maximum(0, b) ** 2 for k, b in zip(stiffness, beyond, strict=True)]
        return {f"{label}.bias": np.sum(each, axis=0)}

    return walls


def _untouched(label, known, values, frames):
    """Return the bias of what has added no Gaussian yet."""
    arguments = _arguments(known, values)
    if len(_numbers(known["SIGMA"])) != len(arguments):
        raise ValueError("Expected a width for each argument.")
    return {f"{label}.bias": np.zeros(len(arguments[0]))}


ACTIONS = {
    "EXTERNAL": _external,
    "LOWER_WALLS": _walls(-1),
    "UPPER_WALLS": _walls(1),
    "METAD": _untouched,
    "OPES_METAD": _untouched,
    "DISTANCE": _distance,
    "DISTANCES": _distances,
    "TORSION": _torsion,
    "COORDINATION": _coordination,
    "SORT": _sort,
    "CUSTOM": _custom,
    "COMBINE": _combine,
    "ANN": _ann,
}
