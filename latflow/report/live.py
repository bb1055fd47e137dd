"""What the page shows at the temperature of its slider; all of it is computed here, by name."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from latflow._typing import FloatArray, IntArray
from latflow._validation import heard, import_extra
from latflow.plotting.style import PALETTE, grid_over, mesh_of
from latflow.report.sections import (
    QUANTITIES,
    Model,
    Reference,
    Subject,
    melting_points,
    stacked,
    written,
)
from latflow.structures import Structures
from latflow.thermodynamics import role_of
from latflow.units import with_error

if TYPE_CHECKING:
    import mdtraj

UNITS = ("temperature", "energy", "entropy")
MOST_STOPS = 36  # of the slider, beside the temperatures that are named
NEAR = 0.2  # of the way between two stops: such a one gives way to a named temperature
SURFACE_GRID = 64
ABOVE, NOWHERE = 254, 255  # levels of a surface that are no colour
FRAME_GRID = 24  # points a variable, of which the page holds the nearest frame
MOST_DOTS = 600
DECADES = 3.0  # of a frame's weight in the mean one, to both sides
WEIGHT_LEVELS = 254  # the middle one is the mean weight
MOST_DRAWN_ATOMS, MOST_TRACED = 300, 1500  # more of the first are a trace
TRACE = ("CA", "P")
LINKED, BONDED = 0.8, 0.2  # nm between atoms of a trace, and of a bond
AT_A_TIME = 50  # structures read, as each may hold its solvent
MOST_COORDINATES = 1_500_000
PICOMETRE = 1e-3  # nm
BALL = 50  # picometres around an atom's centre

Levels = NDArray[np.uint8]


def live_data(
    model: Model,
    temperatures: Sequence[float] | None = None,
    *,
    structures: Structures | None = None,
    reference: Reference | None = None,
) -> dict[str, Any] | None:
    """Return what a page with a slider draws of a fitted model.

    Parameters
    ----------
    model : LaTFEstimator or TemperatureExtrapolator
        Fitted, or loaded.
    temperatures : sequence of float, optional
        That the slider stops at, beside others all along `temperature_range_`; the simulated ones,
        and those halfway between, if not given.
    structures : Structures, optional
        Of the frames that the model was fitted on: the page then names files and shows molecules.
    reference : Reference, optional
        Whose populations are drawn beside the model's.

    Returns
    -------
    dict or None
        For :func:`latflow.report.write_report`: numbers, texts and, in base64, bytes; None for a
        model of one unnamed temperature.
    """
    subject = Subject.of(model, temperatures, reference)
    if not subject.temperatures:
        return None
    with heard():  # what is not known is said on the page, at its temperature
        stops = Subject.of(model, _stops(subject), reference)
        frames, molecules = _frames(stops, structures)
        return {
            "units": {name: getattr(model.units_, name) for name in UNITS},
            "temperatures": stops.temperatures,
            "start": int(np.argmin(np.abs(np.array(stops.temperatures) - _middle(subject)))),
            "simulated": model.temperatures_.tolist(),
            "colours": [PALETTE[s % len(PALETTE)] for s in range(model.n_states_)],
            **_trust(stops),
            **_states(stops),
            "melting": _melting(model),
            "surface": _surface(stops, frames) if model.n_components_ <= 2 else None,
            "frames": _encoded(frames) if len(frames["z"]) else None,
            "molecules": molecules,
        }


def _middle(subject: Subject) -> float:
    """Return where the slider starts: halfway between the outermost simulated temperatures."""
    simulated = subject.model.temperatures_
    return float(simulated[0] + simulated[-1]) / 2


def _stops(subject: Subject) -> list[float]:
    """Return plain temperatures over the model's range, and those that have a name."""
    model, named = subject.model, np.union1d(subject.temperatures, subject.model.temperatures_)
    if model.ensemble_ is None:
        return [float(t) for t in named]
    low, high = model.temperature_range_
    low, high = min(low, named[0]), max(high, named[-1])
    locator = import_extra("matplotlib.ticker", "plot").MaxNLocator(MOST_STOPS)
    plain = locator.tick_values(low, high)
    near = NEAR * (plain[1] - plain[0])
    inside = plain[(plain >= low - 1e-9 * low) & (plain <= high * (1 + 1e-9))].clip(low, high)
    far = np.abs(inside[:, None] - named).min(axis=1) > near
    return sorted([float(f"{t:.6g}") for t in inside[far]] + [float(t) for t in named])


def _trust(subject: Subject) -> dict[str, Any]:
    """Return role, class and reason of every temperature."""
    roles = [role_of(t, subject.model.temperatures_) for t in subject.temperatures]
    if subject.support is None:
        unnamed = [""] * len(roles)
        return {"roles": roles, "support": unnamed, "reasons": unnamed, "effective": unnamed}
    sizes = subject.support["effective_sample_size"]
    return {
        "roles": roles,
        "support": subject.support["support"].tolist(),
        "reasons": subject.support["reason"].tolist(),
        "effective": [f"{size:,.0f}" for size in sizes],
    }


def _states(subject: Subject) -> dict[str, Any]:
    """Return populations and thermodynamics of every state at every temperature."""
    model = subject.model
    if not model.n_states_:
        return {"populations": None, "thermodynamics": None, "reference": None}
    table = subject.populations
    answers = None
    if model.ensemble_ is not None and model.n_states_ > 1:
        values = model.thermodynamics(subject.temperatures)
        texts = [written(values, name, f"{name}_error") for name in QUANTITIES]
        answers = _by_temperature(list(zip(*texts, strict=True)), model.n_states_)
    return {
        "populations": _columns(table, model.n_states_),
        "thermodynamics": answers,
        "reference": _reference(subject.reference.populations),
    }


def _columns(table: pd.DataFrame, n_states: int) -> dict[str, Any]:
    value, error = (_numbers(table[name]) for name in ("population", "standard_error"))
    texts = written(table, "population", "standard_error")
    return {
        "value": _by_temperature(value, n_states),
        "error": _by_temperature(error, n_states),
        "text": _by_temperature(texts, n_states),
    }


def _by_temperature(values: Sequence[Any], n_states: int) -> list[list[Any]]:
    """Cut a column over temperatures and states into one list per temperature."""
    return [list(values[k : k + n_states]) for k in range(0, len(values), n_states)]


def _numbers(values: ArrayLike) -> list[float | None]:
    """Return numbers to five digits; JSON knows no NaN."""
    return [float(f"{v:.5g}") if np.isfinite(v) else None for v in np.asarray(values, float)]


def _reference(table: pd.DataFrame | None) -> list[list[float | None]] | None:
    """Return rows of temperature, state, population and its error."""
    if table is None:
        return None
    rows = table.reset_index()[["temperature", "state", "population", "standard_error"]]
    return [_numbers(row) for row in rows.to_numpy(float)]


def _melting(model: Model) -> list[dict[str, Any]]:
    """Return for each state that melts where and how sure."""
    if model.ensemble_ is None or model.n_states_ < 2:
        return []
    unit = model.units_.temperature
    answers = []
    for state, point in melting_points(model).items():
        row = model.support(point.temperature).iloc[0]
        text = f"{with_error(point.temperature, point.standard_error)} {unit}".rstrip()
        answers.append({"state": state, "temperature": point.temperature, "text": text,
                        "support": row["support"], "reason": row["reason"]})  # fmt: skip
    return answers


# ------------------------------------------------------------------ surfaces


def _surface(subject: Subject, frames: dict[str, Any]) -> dict[str, Any]:
    """Return free energies and states on a grid, one byte each."""
    model, drawn, z = subject.model, set(subject.drawn), frames["z"]
    if not len(z):
        z = np.concatenate([model.sample(MOST_DOTS, t, random_state=0) for t in subject.drawn])
    grid = grid_over(z, SURFACE_GRID)
    mesh = mesh_of(grid)
    units = model.units_
    deepest = 6 * units.kt(max(drawn, default=subject.temperatures[-1]))
    nothing = np.full(mesh.shape[:-1], np.nan)
    surfaces = [model.free_energy(mesh, t) if t in drawn else nothing for t in subject.temperatures]
    points = mesh.reshape(-1, mesh.shape[-1])
    if not model.n_states_:
        states = np.zeros(len(points), np.int64)
    elif len(frames["z"]):  # labels may be the user's own
        scale = np.ptp(z, axis=0).clip(1e-12)
        states = frames["state"][cKDTree(z / scale).query(points / scale)[1]]
    else:
        states = model.predict_latent(points)
    return {
        "extent": [[float(x[0]), float(x[-1])] for x in grid],
        "size": SURFACE_GRID,
        "deepest": deepest,
        "levels": _base64(np.stack([_levels(surface, deepest) for surface in surfaces])),
        "states": _base64(states.astype(np.uint8)),
        "withheld": [t not in drawn for t in subject.temperatures],
        "colours": import_extra("matplotlib", "plot").colormaps["viridis"](
            np.linspace(0, 1, ABOVE), bytes=True
        )[:, :3].tolist(),
    }  # fmt: skip


def _levels(energy: FloatArray, deepest: float) -> Levels:
    """Return free energies as numbers of colours."""
    known = np.isfinite(energy)
    level = np.where(known, np.clip(energy, 0, None) / deepest * (ABOVE - 1), NOWHERE)
    level[known & (energy > deepest)] = ABOVE
    return np.asarray(np.rint(level), np.uint8)


def _base64(values: NDArray[Any]) -> str:
    """Return the bytes of an array, the lowest byte of a number first."""
    little = values.astype(values.dtype.newbyteorder("<"))
    return base64.b64encode(little.tobytes()).decode("ascii")


# ------------------------------------------------------------------ frames and their structures


def _frames(
    subject: Subject, structures: Structures | None
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the frames that the page knows, and their molecules.

    Some evenly in time, one of every place that has any, and each state's representative.
    """
    model = subject.model
    if structures is None and model.ensemble_ is None:
        return {"z": np.empty((0, model.n_components_))}, None
    every = model.z_ if structures is None else structures.z_
    labels = np.full(len(every), -1)
    if model.n_states_:
        labels = stacked(model.labels_) if structures is None else structures.labels_
    rows = np.union1d(_evenly(len(every), MOST_DOTS), _one_a_place(every))
    atoms: IntArray = np.empty(0, np.int64)
    if structures is not None:
        topology = structures.nearest_frames(every[:1]).structures.topology
        atoms = _drawn_atoms(topology)
        rows = rows[_evenly(len(rows), max(1, MOST_COORDINATES // (3 * len(atoms))))]
    rows, representatives = _with_representatives(model, structures, every, labels, rows)
    frames = {"z": every[rows], "state": labels[rows], "representatives": representatives}
    frames["weights"] = None if model.ensemble_ is None else _weights(subject, rows)
    if structures is None:
        return frames | _whereabouts(model, rows), None
    table, xyz = _read(structures, every[rows], atoms)
    names = table.dropna(subset="file").groupby("trajectory")["file"].first()
    frames |= {"trajectory": table["trajectory"].to_numpy(), "frame": table["frame"].to_numpy()}
    frames["files"] = {str(k): str(name) for k, name in names.items()}
    return frames, _molecules(xyz, topology, atoms)


def _evenly(n: int, most: int) -> IntArray:
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))


def _one_a_place(z: FloatArray) -> IntArray:
    """Return which is the first frame of every cell of a grid that has some."""
    low, high = z.min(axis=0), z.max(axis=0)
    cell = np.floor((z - low) / np.where(high > low, high - low, 1.0) * FRAME_GRID)
    cell = cell.clip(0, FRAME_GRID - 1)[:, :2]
    return np.asarray(np.unique(cell, axis=0, return_index=True)[1])


def _with_representatives(
    model: Model,
    structures: Structures | None,
    every: FloatArray,
    labels: IntArray,
    rows: IntArray,
) -> tuple[IntArray, list[int]]:
    """Return rows with those that represent a state, and where among them these are."""
    cores: list[int] = []
    for state in range(model.n_states_):
        members = np.flatnonzero(labels == state)
        if not len(members):
            continue
        if structures is not None:
            table = structures.representatives(state, 1).table
            z = table.filter(regex=r"^CV \d+$").to_numpy(float)[0]
            cores.append(int(np.abs(every - z).sum(axis=1).argmin()))
            continue
        shown = members[_evenly(len(members), MOST_DOTS)]
        cores.append(int(shown[np.argmax(model.pooled_log_density(every[shown]))]))
    rows = np.union1d(rows, np.array(cores, np.int64))
    return rows, np.searchsorted(rows, cores).tolist()


def _whereabouts(model: Model, rows: IntArray) -> dict[str, Any]:
    """Return trajectory and frame of each row, as fit was given them."""
    weights = model.frame_weights(float(model.temperatures_[0]))
    lengths = [len(w) for w in weights] if isinstance(weights, list) else [len(weights)]
    ends = np.cumsum(lengths)
    trajectory = np.searchsorted(ends, rows, side="right")
    frame = rows - (ends - lengths)[trajectory]
    return {"trajectory": trajectory, "frame": frame, "files": {}}


def _weights(subject: Subject, rows: IntArray) -> Levels:
    """Return weights in units of the mean one, as their logarithms, one byte each."""
    levels = np.empty((len(subject.temperatures), len(rows)), np.uint8)
    for k, t in enumerate(subject.temperatures):
        weights = stacked(subject.model.frame_weights(t))
        with np.errstate(divide="ignore"):
            decades = np.log10(weights[rows] * len(weights)).clip(-DECADES, DECADES)
        levels[k] = np.rint((decades / DECADES + 1) / 2 * WEIGHT_LEVELS)
    return levels


def _encoded(frames: dict[str, Any]) -> dict[str, Any]:
    """Return frames as JSON takes them."""
    columns = {name: np.asarray(frames[name]).tolist() for name in ("state", "trajectory", "frame")}
    weights = frames["weights"]
    return columns | {
        "z": [_numbers(z[:2]) for z in frames["z"]],
        "files": frames["files"],
        "representatives": frames["representatives"],
        "weights": None if weights is None else _base64(weights),
        "decades": DECADES,
    }


def _read(
    structures: Structures, z: FloatArray, atoms: IntArray
) -> tuple[pd.DataFrame, FloatArray]:
    """Return where frames are and the coordinates of some atoms, a few frames at a time."""
    parts = [structures.nearest_frames(z[k : k + AT_A_TIME]) for k in range(0, len(z), AT_A_TIME)]
    table = pd.concat([part.table for part in parts], ignore_index=True)
    return table, np.concatenate([part.structures.xyz[:, atoms] for part in parts])


def _drawn_atoms(topology: mdtraj.Topology) -> IntArray:
    """Return heavy atoms without solvent and ions, or a trace of them where they are many."""
    heavy = [a for a in topology.atoms if a.element is None or a.element.symbol != "H"]
    solute = [a for a in heavy if not a.residue.is_water and a.residue.n_atoms > 1] or heavy
    trace = [a for a in solute if a.name in TRACE]
    if len(solute) > MOST_DRAWN_ATOMS and trace:
        solute = trace
    drawn = np.array([a.index for a in solute])
    return np.asarray(drawn[_evenly(len(drawn), MOST_TRACED)])


def _molecules(xyz: FloatArray, topology: mdtraj.Topology, atoms: IntArray) -> dict[str, Any]:
    """Return structures laid on the first one: elements, bonds and coordinates in picometres."""
    import mdtraj

    drawn = mdtraj.Trajectory(xyz, topology.subset(atoms)).superpose(
        mdtraj.Trajectory(xyz[:1], topology.subset(atoms))
    )
    xyz = drawn.xyz - drawn.xyz.mean(axis=1, keepdims=True)
    symbols = [a.element.symbol if a.element is not None else "" for a in drawn.topology.atoms]
    limit = np.iinfo(np.int16).max
    return {
        "elements": symbols,
        "bonds": _bonds(drawn.topology, xyz[0]),
        "xyz": _base64(np.rint(xyz / PICOMETRE).clip(-limit, limit).astype(np.int16)),
        "radii": (np.linalg.norm(xyz, axis=-1).max(axis=1) / PICOMETRE + BALL).round().tolist(),
    }


def _bonds(topology: mdtraj.Topology, xyz: FloatArray) -> list[list[int]]:
    """Return bonds of the topology; without any, atoms that are near in the first structure."""
    known = [[a.index, b.index] for a, b in topology.bonds]
    if known:
        return known
    names = {a.name for a in topology.atoms}
    if names <= set(TRACE):
        chain = [a.residue.chain.index for a in topology.atoms]
        apart = np.linalg.norm(np.diff(xyz, axis=0), axis=1)
        follow = (apart < LINKED) & (np.diff(chain) == 0)
        return [[int(k), int(k) + 1] for k in np.flatnonzero(follow)]
    near: list[list[int]] = cKDTree(xyz).query_pairs(BONDED, output_type="ndarray").tolist()
    return near
