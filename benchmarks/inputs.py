"""Whatever comes in: damaged models, COLVARs and trajectories, each read in a process of its own.

    python benchmarks/inputs.py                      # half an hour, on cores that are free
    python benchmarks/inputs.py --tables models --models 200

Bytes of files that programs wrote are flipped, cut off, doubled or swapped. A damaged file is to be
refused in one sentence, or read as numpy and mdtraj read the same bytes; a model is to be refused.
What reads it has 5 s and 2 GB. "Crashed" is a process that a signal killed.
"""

import ctypes
import gzip
import pickle
import re
import tempfile
import zlib
from collections import Counter
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import mdtraj
import numpy as np
import pandas as pd
import results
from damage import damaged, end_of

import latflow
from latflow.featurizers import Distances, featurize, read_colvar

DATA = Path(__file__).parent.parent / "tests" / "data"
MODEL = DATA / "extrapolator_format4.latflow"
STRUCTURE = DATA / "openmm" / "peptide.pdb"
TRAJECTORIES = (
    "gromacs/replica0.xtc",
    "gromacs/replica0.trr",
    "openmm/peptide.dcd",
    "amber/peptide.nc",
)
M_PERTURB = -6  # of glibc's mallopt
ENDS = ("refused", "read as others read it", "read", "read otherwise", "crashed", "hung")
RUNS = re.compile(r"^(\d+) of \d+ frames .* after a restart")


class Input(NamedTuple):
    """A kind of file: its bytes, our reader of a path, and one whose answers ours has to equal."""

    name: str
    content: bytes
    read: Any
    others: Any = None


def models(folder):
    """Return a model as it is saved today."""
    import torch  # here: a process without it forks in a tenth of the time

    torch.set_num_threads(1)
    latflow.save(latflow.load(MODEL), folder / "model")
    return [Input("model.latflow", (folder / "model").read_bytes(), latflow.load)]


# ------------------------------------------------------------------ COLVARs


def colvar_text(n_frames=30):
    """Return what PLUMED's PRINT writes in a run and in its restart, from three frames before."""
    runs = []
    for shift in (0, n_frames - 3):
        times = shift + np.arange(n_frames)
        phase = np.sin(times)
        table = np.column_stack([times / 5, np.pi * phase, 0.3 + 0.1 * phase, times % 7, 2 * phase])
        lines = ["#! FIELDS time phi d metad.bias wall.bias", "#! SET min_phi -pi"]
        lines += ["#! SET max_phi pi", *("".join(f" {x:f}" for x in row) for row in table)]
        runs.append("\n".join(lines) + "\n")
    return "".join(runs)


def colvars(folder):
    """Return COLVARs, plain and compressed."""
    text = colvar_text().encode()
    return [
        Input("COLVAR", text, read_rows, rows_of_numpy),
        Input("COLVAR.gz", gzip.compress(text, mtime=0), read_rows, rows_of_numpy),
    ]


def read_rows(path):
    """Return names and columns as `read_colvar` reads them, but for cosines and sines."""
    data = read_colvar(path)
    (X,) = data.trajectories
    plain = [k for k, name in enumerate(data.feature_names) if name[:4] not in ("cos_", "sin_")]
    return [data.feature_names[k] for k in plain], X[:, plain]


def rows_of_numpy(path):
    """Return what numpy reads below each header: names and a table."""
    content = path.read_bytes()
    while content.startswith(b"\x1f\x8b"):
        packer = zlib.decompressobj(wbits=31)
        content = packer.decompress(content)
    text = content.decode("latin-1").replace("\r\n", "\n")
    text = re.sub(r"[^\n]*(?=#! FIELDS)", "", text[: text.rindex("\n") + 1])
    runs = [run.partition("\n") for run in text.split("#! FIELDS")[1:]]
    return [
        (names.partition("#")[0].split(), np.loadtxt(StringIO(lines), ndmin=2))
        for names, _, lines in runs
        if re.search(r"^[^#\n]*[^#\s]", lines, re.MULTILINE)
    ]


def same_rows(read, others, warned):
    """Tell whether rows are those of numpy, in order, without as many as a warning says."""
    names, X = read
    theirs = np.concatenate([table[:, [*map(run.index, names)]] for run, table in others])
    dropped = sum(int(match[1]) for match in map(RUNS.match, warned) if match)
    rows = iter(theirs)
    return len(X) == len(theirs) - dropped and all(any((x == y).all() for y in rows) for x in X)


# ------------------------------------------------------------------ trajectories


def trajectories(folder):
    """Return a trajectory of every binary format, as the programs themselves wrote it."""
    structure = mdtraj.load(STRUCTURE)
    featurizer = Distances("all", min_separation=1).fit(structure)

    def read(path):
        (X,) = featurize(path, None, featurizer).trajectories
        return np.asarray(X)

    def others(path):
        known = {} if path.suffix == ".h5" else {"top": structure.topology}
        return featurizer.transform(mdtraj.load(str(path), **known))

    mdtraj.load(str(DATA / TRAJECTORIES[0]), top=structure).save(folder / "run.h5")
    files = [*(DATA / name for name in TRAJECTORIES), folder / "run.h5"]
    return [Input(file.name, file.read_bytes(), read, others) for file in files]


def same_features(read, others, warned):
    """Tell whether features are equal, NaN to NaN."""
    return np.array_equal(read, others, equal_nan=True)


# ------------------------------------------------------------------ ends


def differ_by_memory(one, path, same):
    """Tell whether answers differ by what memory held before it was taken, and by nothing else.

    Damaged frames make mdtraj read beyond its buffers: such bytes have no reading to compare, but
    with the same byte all over the memory both readers give the same.
    """
    ours, theirs = (
        [end_of(partial(_soiled, reader, byte), path) for byte in (0x55, 0xAA, 0x00)]
        for reader in (one.read, one.others)
    )
    read = [(a.what, b.what) for a, b in zip(ours, theirs, strict=True) if a.how == b.how == "read"]
    alike = any(same(answer, other, warned) for (answer, warned), (other, _) in read)
    return alike or len({pickle.dumps(end) for end in theirs}) > 1


def _soiled(reader, byte, path):
    """Read with a byte all over the memory that the C library hands out."""
    ctypes.CDLL(None).mallopt(M_PERTURB, byte)
    return reader(path)


def end_of_damaged(one, path, generator, same):
    """Damage a file, read it, and tell how that ended, with what was said or done."""
    content, kind = damaged(one.content, generator)
    path.write_bytes(content)
    end = end_of(one.read, path)
    if end.how == "read" and one.others is not None:
        answer, warned = end.what
        theirs = end_of(one.others, path)
        alike = theirs.how == "read" and same(answer, theirs.what[0], warned)
        alike = alike or differ_by_memory(one, path, same)
        return "read as others read it" if alike else "read otherwise", f"{kind}: {theirs}"
    return end.how, f"{kind}: {end.what}"


def ends(one, n, same=None, seed=0):
    """Return how often n damaged files ended how, and an example of each end."""
    generator = np.random.default_rng(seed)
    counts, examples = Counter(), {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, one.name)
        for k in range(n):
            how, what = end_of_damaged(one, path, generator, same)
            counts[how] += 1
            examples.setdefault(how, f"{one.name} {k}, {what}")
    return counts, examples


KINDS = {
    "colvars": (colvars, same_rows),
    "trajectories": (trajectories, same_features),
    "models": (models, None),
}


def damaged_files(kind, args):
    """Yield the table of ends of damaged files of one kind; print an example of each bad end."""
    make, same = KINDS[kind]
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for one in make(Path(folder)):
            rows[one.name], examples = ends(one, getattr(args, kind), same)
            print(one.name, dict(rows[one.name]), flush=True)
            print(*(text for how, text in examples.items() if how not in ENDS[:2]), sep="\n")
    known = [*ENDS, *sorted(set().union(*rows.values()) - set(ENDS))]
    table = pd.DataFrame([[row[how] for how in known] for row in rows.values()], columns=known)
    table.index = pd.Index(rows, name="damaged")
    yield results.Result(f"inputs_{kind}", f"Damaged {kind}, and how reading them ended", table)


TABLES = {kind: partial(damaged_files, kind) for kind in KINDS}


if __name__ == "__main__":
    parser = results.options(__doc__)
    results.add_tables(parser, TABLES)
    for kind, number in (("models", 10_000), ("colvars", 5_000), ("trajectories", 2_000)):
        parser.add_argument(f"--{kind}", type=int, default=number, help="of each kind of file")
    results.publish(parser, TABLES)
