"""Results as files: every benchmark writes them (`--write`), README and docs include them.

    python benchmarks/results.py README.md            # fill the tables between its markers
    python benchmarks/results.py README.md --check    # exit 1 where they are not those written

A result is a file docs/results/<name>.md, a table and a line about the machine, and the same as
JSON. Pages of the docs include it; other files hold a copy between `<!-- results: name -->` and
`<!-- end -->`.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import warnings
from contextlib import suppress
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
COPY = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
PACKAGES = ("latflow", "torch", "numpy", "scikit-learn")


class Result(NamedTuple):
    """A table (pandas.DataFrame, its index named) that a benchmark made.

    `gaps` tells that some cells have no value; elsewhere NaN is printed as what it is.
    """

    name: str
    title: str
    table: object
    gaps: bool = False


def options(doc):
    """Return a parser with the options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="tables to docs/results, too")
    return parser


def add_tables(parser, tables):
    """Let the user choose among a benchmark's tables, a dictionary of functions."""
    parser.add_argument("--tables", nargs="+", choices=tuple(tables), default=list(tables))


def publish(parser, run):
    """Run a benchmark on one thread: print each `Result` that it yields, write it if asked to.

    `run` is a function of the parsed arguments, or the dictionary given to `add_tables`.
    """
    from threadpoolctl import threadpool_limits

    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # of processes that this one starts
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    warnings.simplefilter("ignore")
    with threadpool_limits(1):
        chosen = [run[name] for name in args.tables] if isinstance(run, dict) else [run]
        for name, title, table, gaps in chain.from_iterable(one(args) for one in chosen):
            print(f"\n## {title}\n\n{table.to_string(na_rep='-' if gaps else 'NaN')}", flush=True)
            if args.write:
                write(name, table, about=title)


def write(name, table, *, about):
    """Write a DataFrame, a dictionary of them by title, or text, to docs/results."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    if isinstance(table, str):
        text = data = table
    elif isinstance(table, dict):
        text = "\n\n".join(f"{title}:\n\n{markdown(one)}" for title, one in table.items())
        data = {title: as_json(one) for title, one in table.items()}
    else:
        text, data = markdown(table), as_json(table)
    facts = {"about": about, "date": date.today().isoformat()} | machine()
    (RESULTS / f"{name}.md").write_text(f"{text}\n\n*{line_about(facts)}*\n")
    (RESULTS / f"{name}.json").write_text(json.dumps(facts | {"table": data}) + "\n")


def as_json(table):
    """Return a DataFrame's columns, index and data, without NaN."""
    return json.loads(table.to_json(orient="split"))


def markdown(table):
    """Return a DataFrame as a table in Markdown; its index is written where it has a name."""
    table = table.reset_index() if any(table.index.names) else table
    columns = [
        table.iloc[:, [k]].to_string(index=False, header=False, na_rep="").splitlines()
        for k in range(table.shape[1])
    ]
    return markdown_of(table.columns, zip(*columns, strict=True))


def markdown_of(header, lines):
    """Return a table in Markdown from the names of its columns and its lines."""
    table = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(str(cell).strip() for cell in line)} |" for line in table)


def machine():
    """Return what stands beside a figure: machine, threads, versions, command."""
    torch = sys.modules.get("torch")
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads() if torch else 1,
        "python": platform.python_version(),
        "versions": {name: installed_version(name) for name in PACKAGES},
        "commit": commit(),
        "command": command(),
    }


def line_about(facts):
    """Return the facts of `machine` as one line."""
    packages = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    return (
        f"{facts['date']}, {facts['processor']}, cores: {facts['cores']}, threads: "
        f"{facts['threads']}; Python {facts['python']}, {packages} (commit {facts['commit']}): "
        f"`{facts['command']}`"
    )


def processor():
    """Return the processor's name."""
    with suppress(OSError):
        names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def installed_version(package):
    """Return a package's version."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def commit():
    """Return the commit that is checked out, "-changed" where what was measured differs from it."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    if head.returncode:
        return "unknown"
    same = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "latflow", "benchmarks"])
    return head.stdout.strip() + ("-changed" if same.returncode else "")


def command():
    """Return the command line, without folders of this machine and without `--write`."""
    words = [Path(w).name if w.startswith("/") else w for w in sys.argv[1:] if w != "--write"]
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])


def filled(text):
    """Return a file's text with the results between its markers."""

    def copy(match):
        start, name, end = match.groups()
        return f"{start}\n{(RESULTS / f'{name}.md').read_text().strip()}\n\n{end}"

    return COPY.sub(copy, text)


def main():
    """Fill or check the files that hold copies of results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if stale")
    args = parser.parse_args()
    texts = {file: file.read_text() for file in args.files}
    stale = [file for file, text in texts.items() if filled(text) != text]
    for file in stale:
        if args.check:
            print(f"{file} holds old results: run python benchmarks/results.py {file}")
        else:
            file.write_text(filled(texts[file]))
    if args.check and stale:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
