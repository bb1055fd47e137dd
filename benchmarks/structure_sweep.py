"""Every structure file of the package MDAnalysisTests: read, refused in a sentence, or crashed.

    pip install MDAnalysisTests     # once; nothing else here needs it
    python benchmarks/structure_sweep.py               # some minutes
    python benchmarks/structure_sweep.py --folder DIR  # of another folder's files

Each file is read in a process of its own, as a topology where its format names atoms, else as a
trajectory. Killed by a signal, an exception other than ValueError, OSError and ImportError, a
message of more than one line or without the file's name, and more than five seconds are crashes.
"""

import importlib.util
import multiprocessing
from collections import Counter
from pathlib import Path

import mdtraj
import numpy as np
import pandas as pd
import results

from latflow.featurizers import CoordinationNumbers, featurize, formats
from latflow.featurizers.readers import read_topology

LONGEST = 5.0  # seconds
OTHER = (".py", ".pyc", ".npy", ".npz", ".txt", ".md", ".dat", ".dssp", ".json", ".csv")
OUTCOMES = ("read", "refused", "crashed")


def read(file):
    """Read a file as a user would."""
    kind = formats.format_of(file)
    if kind not in formats.EXTENSIONS or kind in formats.WITH_TOPOLOGY:
        read_topology(file, file)
        return
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    with formats.opened(file, 3) as source, formats.reading():
        first = source.read() if kind in (".rst7", ".ncrst") else source.read(n_frames=1)
    coordinates = first if isinstance(first, np.ndarray) else first[0]
    for _ in range(coordinates.shape[1]):
        topology.add_atom("AR", None, topology.add_residue("AR", chain))
    featurize(file, topology, CoordinationNumbers(0.5, atoms=[0, 1]))


def outcome(file, pipe):
    """Send what became of a file, and the sentence."""
    try:
        read(file)
        pipe.send(("read", ""))
    except (ValueError, OSError, ImportError, formats.CorruptFile) as error:
        text = str(error)
        named = file.name in text or isinstance(error, formats.CorruptFile | ImportError)
        pipe.send(("refused" if named and "\n" not in text else "crashed", text))
    except BaseException as error:
        pipe.send(("crashed", repr(error)))


def in_child(file):
    """Return what became of a file in a process of its own."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=outcome, args=(file, send))
    child.start()
    send.close()
    try:
        said = receive.recv() if receive.poll(LONGEST) else ("crashed", f"over {LONGEST:g} s")
    except EOFError:
        said = ("crashed", "killed by a signal")
    child.kill()
    child.join()
    return said


def files_of(folder):
    """Return the structure files of a folder."""
    every = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in every if path.suffix and path.suffix.lower() not in OTHER]


def sweep(args):
    """Yield the table of outcomes."""
    folder = args.folder
    if folder is None:
        found = importlib.util.find_spec("MDAnalysisTests")
        if found is None:
            raise SystemExit("Expected MDAnalysisTests, or --folder, found neither.")
        folder = Path(found.origin).parent / "data"
    counts = Counter()
    for file in files_of(folder):
        what, sentence = in_child(file)
        kind = formats.format_of(file)
        counts["known" if kind in formats.NAMES else "others", kind, what] += 1
        if args.verbose or what == "crashed":
            print(f"{what:8} {file.relative_to(folder)}: {sentence}", flush=True)
    rows = sorted({kind for known, kind, _ in counts if known == "known"})
    table = {kind: [counts["known", kind, what] for what in OUTCOMES] for kind in rows}
    others = {key: n for key, n in counts.items() if key[0] == "others"}
    table["all other suffixes"] = [
        sum(n for key, n in others.items() if key[2] == what) for what in OUTCOMES
    ]
    frame = pd.DataFrame.from_dict(table, orient="index", columns=list(OUTCOMES))
    frame.loc["together"] = frame.sum()
    frame.index.name = "format"
    yield results.Result("structure_files", "Structure files of MDAnalysisTests", frame)


if __name__ == "__main__":
    parser = results.options(__doc__)
    parser.add_argument("--folder", type=Path, help="of another package's files")
    parser.add_argument("--verbose", action="store_true", help="print every sentence")
    results.publish(parser, sweep)
