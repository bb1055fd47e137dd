"""Energies out of the files that simulation programs write, on the times of the frames."""

from __future__ import annotations

import gzip
import io
import os
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from latflow._edr import terms_of
from latflow._typing import FloatArray
from latflow._validation import warn
from latflow.units import with_error

__all__ = ["Energies", "read_energies"]

KCAL, EV = 4.184, 96.48533212331  # kJ/mol
# no pattern may take more than a fixed length back and forth: a damaged file must not hang it
AMBER_NUMBER = re.compile(r"([A-Za-z][\w()#+ -]{0,30}?) {0,9}= {0,20}(-?[\d.]+|\*+)")
LAMMPS_NUMBER = re.compile(r"(\w+)\s*=\s*(\S+)")
LAMMPS_HEADER = re.compile(r"^\s*Step\s+\w")
LAMMPS_STYLE = {"real": (KCAL, 1e-3), "metal": (EV, 1.0), "lj": (1.0, 1.0)}  # energy, ps
LAMMPS_THERMOSTAT = re.compile(
    r"^fix +\S+ +\S+ +(?:(?:langevin|temp/\w+)|\S+ .*?\btemp) +(\d+\.?\d*) +(\d+\.?\d*)\s", re.M
)
XVG_COLUMN = re.compile(r'^@\s*s(\d+)\s+legend\s+"(.*)"')
TOTAL = re.compile(r"tot(al)?[ -]?(energy|eng)|etot|conserved", re.I)
SYSTEMATIC = 0.012  # of the kinetic temperature: half steps, constraints
MOST_ERRORS = 4.0
N_BLOCKS = (10, 7, 5, 4)  # what is correlated over many rows shows in the longer ones
MOST_BYTES = 500_000_000  # of what was gzipped


@dataclass(frozen=True)
class Energies:
    """What a program wrote of a simulation's energies.

    Parameters
    ----------
    potential : ndarray of shape (n_rows,)
        Potential energy in kJ/mol (LAMMPS in units ``lj``: as it is).
    time : ndarray of shape (n_rows,) or None
        Time in ps.
    step : ndarray of shape (n_rows,) or None
        Steps of the integrator.
    kinetic_temperature : ndarray of shape (n_rows,) or None
        Temperature in K that the velocities had.
    temperature : float or None
        Temperature in K that the thermostat was set to, where the file says it.
    path : str
    program : str
        Who wrote the file.
    """

    potential: FloatArray
    time: FloatArray | None
    step: FloatArray | None
    kinetic_temperature: FloatArray | None
    temperature: float | None
    path: str
    program: str

    def at(self, time: ArrayLike, *, tolerance: float = 1e-3) -> FloatArray:
        """Return the potential energy at the times of frames.

        Parameters
        ----------
        time : array_like of shape (n_frames,)
            In ps.
        tolerance : float, default=0.001
            Distance in time, in ps, that is taken for rounding.

        Returns
        -------
        ndarray of shape (n_frames,)

        Raises
        ------
        ValueError
            If there is no energy at the time of a frame; the message says which times there are.
        """
        frames = np.asarray(time, np.float64)
        if self.time is None:
            raise ValueError(f"Expected times in {self.path}, got energies without.")
        after = np.clip(np.searchsorted(self.time, frames), 1, max(len(self.time) - 1, 1))
        near = np.stack([after - 1, np.minimum(after, len(self.time) - 1)])
        distance = np.abs(self.time[near] - frames)
        nearest, missed = np.take_along_axis(near, distance.argmin(0)[None], 0)[0], distance.min(0)
        absent = missed > tolerance + 4 * np.spacing(np.abs(frames).astype(np.float32))
        if absent.any():
            raise ValueError(
                f"Expected an energy at the time of every frame in {self.path}, got none for "
                f"{absent.sum()} of {len(frames)} frames (the first at {frames[absent][0]:g} ps): "
                f"frames go {_span(frames)}, energies {_span(self.time)}."
            )
        return np.asarray(self.potential[nearest])

    def thermostat(self) -> float:
        """Return the temperature that was simulated.

        That is the thermostat's where the file says it, and else the mean kinetic temperature to
        the whole kelvin, of which a warning tells.

        Raises
        ------
        ValueError
            If the file says neither, or the mean kinetic temperature is uncertain by more than 1 K.
        """
        if self.temperature is not None:
            return self.temperature
        cure = f"Expected the temperature of the simulation, as {self.path} does not say it, got"
        if self.kinetic_temperature is None:
            raise ValueError(f"{cure} none.")
        mean, error = _mean(self.kinetic_temperature)
        if not error <= 1:
            raise ValueError(f"{cure} a mean kinetic temperature of {with_error(mean, error)} K.")
        warn(
            f"{self.path} does not say the thermostat's temperature: {mean:.0f} K is the mean "
            f"kinetic temperature ({with_error(mean, error)} K) to the whole kelvin."
        )
        return float(round(mean))

    def check_temperature(self, temperature: float) -> None:
        """Warn where the velocities, or the thermostat, had another temperature than this one.

        Constraints and half steps shift kinetic temperatures by up to a hundredth, so that much
        and four standard errors are passed over.

        Parameters
        ----------
        temperature : float
            In K.
        """
        if self.temperature is not None and not np.isclose(self.temperature, temperature, 1e-3):
            warn(
                f"{self.path} is of a thermostat at {self.temperature:g} K, not at the "
                f"{temperature:g} K that were named."
            )
        elif self.kinetic_temperature is not None:
            mean, error = _mean(self.kinetic_temperature)
            if abs(mean - temperature) > SYSTEMATIC * temperature + MOST_ERRORS * error:
                warn(
                    f"The mean kinetic temperature in {self.path} is {with_error(mean, error)} K, "
                    f"not the {temperature:g} K that were named."
                )


def read_energies(path: str | os.PathLike[str]) -> Energies:
    """Read the potential energies that a simulation program wrote.

    GROMACS' .edr and .xvg of ``gmx energy``, the CSV of OpenMM's
    StateDataReporter, AMBER's mdout, the logs of NAMD and LAMMPS (units ``real``, ``metal``,
    ``lj``); text may be gzipped. What a restart ran through anew replaces what was there. Where
    AMBER tells the energy of restraints, it is left out; biases that other programs add to their
    potential energy stay in it.

    Parameters
    ----------
    path : path

    Returns
    -------
    Energies

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is of another kind or damaged, or holds total energies only.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "run.csv")
    ...     _ = file.write_text('#"Time (ps)","Potential Energy (kJ/mole)"\\n2,-80.5\\n4,-79\\n')
    ...     read_energies(file).at([4.0, 2.0])
    array([-79. , -80.5])
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"Expected an existing file of energies, got {file}.")
    if file.suffix.lower() == ".edr":
        return _of_edr(file)
    text = _text(file)
    head = text[:200_000]
    for program, mark, reader in READERS:
        if mark.search(head):
            try:
                with np.errstate(all="ignore"):
                    return _checked(file, program, reader(text, file))
            except (IndexError, KeyError, TypeError) as error:
                raise ValueError(
                    f"Expected energies as {program} writes them in {file}, got a damaged file "
                    f"({type(error).__name__}: {error})."
                ) from error
    raise ValueError(
        f"Expected energies in {file} as GROMACS (.edr, .xvg), OpenMM (CSV), AMBER (mdout), NAMD "
        "or LAMMPS (logs) write them, got a file of another kind."
    )


@dataclass
class _Columns:
    """Columns by name, and what the head of the file says."""

    values: dict[str, FloatArray]  # of potential, time, step, kinetic
    temperature: float | None = None


def _text(file: Path) -> str:
    data = file.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(MOST_BYTES + 1)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"Expected a whole gzip file, got {file}: {error}.") from error
        if len(data) > MOST_BYTES:
            raise ValueError(
                f"Expected at most {MOST_BYTES:,} bytes in {file}, got more: unpack and thin it."
            )
    return data.decode("utf-8", errors="replace")


def _checked(file: Path, program: str, columns: _Columns) -> Energies:
    """Return the rows that no restart replaced, checked to be numbers."""
    values = columns.values
    if not len(values["potential"]):
        raise ValueError(f"Expected energies of {program} in {file}, got none.")
    for name, column in values.items():
        if not np.isfinite(column).all():
            row = np.flatnonzero(~np.isfinite(column))[0]
            raise ValueError(f"Expected finite numbers in {file}, got {name} {column[row]}.")
    order = next((values[name] for name in ("step", "time") if name in values), None)
    if order is not None:
        last = order < np.r_[np.minimum.accumulate(order[::-1])[::-1][1:], np.inf]
        values = {name: column[last] for name, column in values.items()}
    return Energies(
        values["potential"],
        values.get("time"),
        values.get("step"),
        values.get("kinetic"),
        columns.temperature,
        str(file),
        program,
    )


def _of_edr(file: Path) -> Energies:
    try:
        terms, names, whole = terms_of(file.read_bytes(), ("Potential", "Temperature"))
    except ValueError as error:
        raise ValueError(f"Expected a whole .edr of GROMACS, got {file} with {error}.") from error
    if "Potential" not in terms:
        raise ValueError(_no_potential(file, names))
    if not whole:
        warn(f"The last frame of {file} ends early and is dropped.")
    columns = {"potential": "Potential", "time": "Time", "step": "Step", "kinetic": "Temperature"}
    return _checked(
        file, "GROMACS", _Columns({k: terms[v] for k, v in columns.items() if v in terms})
    )


def _of_xvg(text: str, file: Path) -> _Columns:
    lines = text.splitlines()
    legends = [match.group(2) for line in lines if (match := XVG_COLUMN.match(line))]
    if not legends:
        raise ValueError(
            f"Expected names of columns in {file}, got none: write it with gmx energy -xvg xmgrace."
        )
    if "Potential" not in legends:
        raise ValueError(_no_potential(file, legends))
    rows = [line.split() for line in lines if line.strip() and line.lstrip()[0] not in "#@&"]
    table = _numbers(rows, 1 + len(legends), file)
    names = {"potential": "Potential", "kinetic": "Temperature"}
    found = {k: table[:, 1 + legends.index(v)] for k, v in names.items() if v in legends}
    return _Columns({"time": table[:, 0]} | found)


def _of_csv(text: str, file: Path) -> _Columns:
    lines = [line for line in text.splitlines() if line.strip()]
    names = re.findall(r'"([^"]*)"', lines[0])
    between = re.search(r'"([^"]+?)"', lines[0].lstrip("#")[1:])
    separator = (lines[0].split('"')[2] if len(names) > 1 and between else "") or ","
    rows = [line.split(separator) for line in lines if not line.startswith("#")]
    if others := {line for line in lines[:-1] if line.startswith('#"')} - {lines[0]}:
        raise ValueError(
            f"Expected the same columns in all runs in {file}, got {_short(lines[0], 200)} and "
            f"{_short(min(others), 200)}: give each run a file."
        )
    columns = {
        "potential": "Potential Energy (kJ/mole)",
        "time": "Time (ps)",
        "step": "Step",
        "kinetic": "Temperature (K)",
    }
    if columns["potential"] not in names:
        raise ValueError(_no_potential(file, names))
    used = [names.index(column) for column in columns.values() if column in names]
    wide = [[row[k] for k in used] if len(row) == len(names) else [] for row in rows]
    table = _numbers(wide, len(used), file)
    return _Columns(
        {k: table[:, used.index(names.index(v))] for k, v in columns.items() if v in names}
    )


def _of_amber(text: str, file: Path) -> _Columns:
    results = text.partition("A V E R A G E S")[0]
    setup = results.partition("CONTROL  DATA")[2].partition("RESULTS")[0]
    thermostat = re.search(r"\btemp0\s*=\s*(\d+\.?\d*)", setup)
    rows = []
    for block in results.split(" NSTEP =")[1:]:
        found = dict(AMBER_NUMBER.findall("NSTEP =" + block.partition("-----")[0]))
        if "EPtot" in found:
            potential = found.get("EAMBER (non-restraint)", found["EPtot"])
            rows.append([potential, found["NSTEP"], found["TIME(PS)"], found["TEMP(K)"]])
    table = _numbers(rows, 4, file)
    found = dict(zip(("step", "time", "kinetic"), table.T[1:], strict=True))
    stated = float(thermostat.group(1)) if thermostat else None
    return _Columns({"potential": KCAL * table[:, 0]} | found, stated)


def _of_namd(text: str, file: Path) -> _Columns:
    names: list[str] = []
    rows = []
    for line in text.splitlines():
        if line.startswith("ETITLE:"):
            names = line.split()[1:]
        elif line.startswith("ENERGY:") and names:
            rows.append((line.split()[1:] + [""] * len(names))[: len(names)])
    if "POTENTIAL" not in names:
        raise ValueError(_no_potential(file, names))
    places = {name: k for k, name in enumerate(names)}
    used = [places[name] for name in ("POTENTIAL", "TS", "TEMP")]
    potential, step, kinetic = _numbers([[row[k] for k in used] for row in rows], 3, file).T
    found = {"potential": KCAL * potential, "step": step, "kinetic": kinetic}
    if per_step := re.search(r"^Info: TIMESTEP\s+(\d*\.?\d+)", text, re.M):
        found["time"] = 1e-3 * float(per_step.group(1)) * step
    stated = re.search(r"^Info: \w+ TEMPERATURE\s+(\d+\.?\d*)", text, re.M)
    return _Columns(found, float(stated.group(1)) if stated else None)


def _of_lammps(text: str, file: Path) -> _Columns:
    units = (re.findall(r"^units\s+(\w+)", text, re.M) or ["lj"])[-1]
    if units not in LAMMPS_STYLE:
        raise ValueError(
            f"Expected units {', '.join(LAMMPS_STYLE)} of LAMMPS in {file}, got "
            f"{_short(units, 80)}."
        )
    rows = _lammps_rows(text)
    for row in rows:
        if not {"PotEng", "E_pair"} & set(row):
            raise ValueError(_no_potential(file, list(row)))
    # E_mol is bonded energy; thermo_style one, the default, writes no sum
    terms = [("PotEng", "") if "PotEng" in row else ("E_pair", "E_mol") for row in rows]
    wide = [
        [row.get(a, ""), row.get(b, "0"), row["Step"], row.get("Temp", "0")]
        for row, (a, b) in zip(rows, terms, strict=True)
    ]
    one, other, step, kinetic = _numbers(wide, 4, file).T
    energy, picoseconds = LAMMPS_STYLE[units]
    potential = energy * _n_divided_by(text, units) * (one + other)
    found = {"potential": potential, "step": step}
    if all("Temp" in row for row in rows):
        found["kinetic"] = kinetic
    steps = re.findall(r"^timestep\s+(\d*\.?\d+(?:[eE][+-]?\d+)?)", text, re.M)
    default = {"real": "1.0", "metal": "0.001", "lj": "0.005"}
    if len(set(map(float, steps))) < 2:  # with several, steps alone tell no time
        found["time"] = picoseconds * float((steps or [default[units]])[-1]) * step
    return _Columns(found, _lammps_thermostat(text))


def _lammps_rows(text: str) -> list[dict[str, str]]:
    """Return the thermodynamic output of the runs, not of minimisations, in any of its styles."""
    rows: list[dict[str, str]] = []
    names: list[str] = []
    minimises = inside = False
    for line in text.splitlines():
        words = line.split()
        if words[:1] in (["minimize"], ["run"], ["temper"]):
            minimises = words[0] == "minimize"
        if line.startswith("Loop time"):
            names, inside = [], False
        elif LAMMPS_HEADER.match(line):
            names = words
        elif "- Step " in line:  # style multi: the head of a block
            inside = True
            rows += [] if minimises else [{"Step": line.split("Step")[1].split()[0]}]
        elif inside and not minimises:
            rows[-1] |= dict(LAMMPS_NUMBER.findall(line))
        elif line.startswith("keywords:"):  # style yaml
            names = re.findall(r"[\w/]+", line.partition(":")[2])
        elif names and not minimises:
            words = line.strip(" -[]").replace(",", " ").split()
            if len(words) == len(names) and words[0].isdigit():
                rows.append(dict(zip(names, words, strict=True)))
    return rows[:-1] if rows and inside and len(rows[-1]) < len(rows[-2:][0]) else rows


def _n_divided_by(text: str, units: str) -> float:
    """Return the number of atoms where LAMMPS divides energies by it, 1 elsewhere."""
    said = re.findall(r"^thermo_modify\b.*\bnorm\s+(yes|no)", text, re.M)
    atoms = re.findall(r"with (\d+) atoms|^ *(\d+) atoms$", text, re.M)
    divided = said[-1] == "yes" if said else units == "lj"
    return float(max(atoms[-1])) if divided and atoms else 1.0


def _lammps_thermostat(text: str) -> float | None:
    """Return the temperature of the last thermostat, if it is one and stays."""
    found = LAMMPS_THERMOSTAT.findall(text)
    if not found or found[-1][0] != found[-1][1] or re.search(r"^temper\s", text, re.M):
        return None
    return float(found[-1][0])


READERS: Sequence[tuple[str, re.Pattern[str], Callable[[str, Path], _Columns]]] = (
    ("GROMACS", re.compile(r"^@ ", re.M), _of_xvg),
    ("OpenMM", re.compile(r'\A#?"[^"\n]+"'), _of_csv),
    ("NAMD", re.compile(r"^(ETITLE:|Info: .*NAMD)", re.M), _of_namd),
    ("LAMMPS", re.compile(r"^LAMMPS \(|^[ \t]*Step[ \t].*(PotEng|TotEng)", re.M), _of_lammps),
    ("AMBER", re.compile(r"\bAmber\b.{0,200}\b(SANDER|PMEMD)\b|^ NSTEP =", re.M | re.I), _of_amber),
)


def _numbers(rows: list[list[str]], width: int, file: Path) -> FloatArray:
    """Return a table of numbers; a last row that a killed run did not finish is dropped."""
    table = np.full((len(rows), width), np.nan)
    for k, row in enumerate(rows):
        try:
            table[k] = np.array(row, np.float64) if len(row) == width else np.nan
        except ValueError:
            table[k] = np.nan
    wrong = np.flatnonzero(np.isnan(table).any(axis=1))
    if len(wrong) and wrong[0] == len(rows) - 1:
        warn(f"The last line of {file} ends early and is dropped.")
        return table[:-1]
    if len(wrong):
        raise ValueError(
            f"Expected {width} numbers in every line of energies in {file}, got "
            f"'{_short(' '.join(rows[wrong[0]]), 80)}' as number {wrong[0] + 1}."
        )
    return table


def _no_potential(file: Path, names: Sequence[str]) -> str:
    totals = [name for name in names if TOTAL.search(name)]
    why = f"{_short(totals[0], 80)} (which holds the kinetic energy too)" if totals else "none"
    return (
        f"Expected a column of potential energy in {file}, got {why}; its columns are "
        f"{_short(', '.join(names), 500) or 'not named'}."
    )


def _short(text: str, length: int) -> str:
    """Return a text as a sentence can hold it."""
    cut = text if len(text) <= length else text[:length] + "..."
    return "".join(letter if letter.isprintable() else "?" for letter in cut)


def _span(times: FloatArray) -> str:
    step = np.median(np.diff(times)) if len(times) > 1 else 0.0
    return f"from {times[0]:g} to {times[-1]:g} ps every {step:g} ps"


def _mean(values: FloatArray) -> tuple[float, float]:
    """Return the mean, and the largest of its standard errors out of few or more blocks in time."""
    errors = []
    for n_blocks in N_BLOCKS:
        means = [block.mean() for block in np.array_split(values, min(n_blocks, len(values)))]
        errors.append(np.std(means, ddof=1) / np.sqrt(len(means)) if len(means) > 1 else np.inf)
    return float(values.mean()), float(max(errors))
