"""How much code there is: lines, lengths and complexity of functions, annotations `Any`.

    python benchmarks/code_size.py                                        # of this checkout
    python benchmarks/code_size.py --root ../before . --output size.md    # two, side by side

Code lines hold anything but blanks, comments and docstrings. The length of a function is that of
its definition less its docstring; its complexity is counted as ruff's C901 does. An annotation of a
parameter or of what is returned counts as `Any` where that name occurs in it; aliases are not
followed.
"""

import argparse
import ast
import re
import tokenize
from collections import Counter
from pathlib import Path

from results import markdown_of

PACKAGE = "latflow"
SHORT = 25  # lines of a function
LONG_FILE = 600
LAYOUT = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENCODING, tokenize.ENDMARKER,
}  # fmt: skip
IGNORE = re.compile(r"type:\s*ignore(?:\[([^]]*)\])?")
OF_ANOTHER_CLASS = {"attr-defined", "misc"}
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
N_NAMED = 3


def docstring_lines(node):
    """Return the numbers of the lines of a node's docstring."""
    documented = isinstance(node, ast.Module | ast.ClassDef | FUNCTIONS)
    if not documented or ast.get_docstring(node, clean=False) is None:
        return set()
    return set(range(node.body[0].lineno, node.body[0].end_lineno + 1))


def code_lines(text, tokens, tree):
    """Return the number of lines of code of a file."""
    lines, numbers = text.splitlines(), set()
    for token in tokens:
        if token.type not in LAYOUT:
            numbers.update(range(token.start[0], token.end[0] + 1))
    numbers -= set().union(*map(docstring_lines, ast.walk(tree)))
    return sum(bool(lines[number - 1].strip()) for number in numbers)


def complexity(statements):
    """Return the number of decisions of statements, as ruff counts them."""
    total = 0
    for node in statements:
        blocks = [getattr(node, name, []) for name in ("body", "orelse", "finalbody")]
        blocks += [b.body for name in ("handlers", "cases") for b in getattr(node, name, [])]
        if isinstance(node, ast.ClassDef):
            blocks = [[method for method in node.body if isinstance(method, FUNCTIONS)]]
        total += decisions(node) + sum(map(complexity, blocks))
    return total


def decisions(node):
    """Return by how much a statement adds to the complexity, without what is inside."""
    if isinstance(node, ast.If | ast.For | ast.AsyncFor | ast.While | FUNCTIONS):
        return 1
    if isinstance(node, ast.Try | ast.TryStar):
        return len(node.handlers) + bool(node.orelse)
    if isinstance(node, ast.Match):
        last = node.cases[-1].pattern
        return len(node.cases) - (isinstance(last, ast.MatchAs) and last.pattern is None)
    return 0


def annotations(function):
    """Return the annotations of a function's parameters and of what it returns."""
    a = function.args
    parameters = [*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg]
    each = [parameter.annotation for parameter in parameters if parameter] + [function.returns]
    return [ast.unparse(annotation) for annotation in each if annotation is not None]


def functions(tree, name):
    """Yield the qualified name and the node of every function, nested ones too."""
    for node in ast.iter_child_nodes(tree):
        named = isinstance(node, ast.ClassDef | FUNCTIONS)
        inner = f"{name}.{node.name}" if named else name
        if isinstance(node, FUNCTIONS):
            yield inner, node
        yield from functions(node, inner)


class Size:
    """The figures of a checkout: counts by name, code lines by room, functions by name."""

    def __init__(self, root):
        package = root / PACKAGE
        self.counts, self.rooms, self.lengths, self.complexities = Counter(), Counter(), {}, {}
        for path in sorted(package.rglob("*.py")):
            place, text = path.relative_to(package), path.read_text()
            with tokenize.open(path) as file:
                tokens = list(tokenize.generate_tokens(file.readline))
            tree = ast.parse(text)
            self.rooms[place.parts[0]] += code_lines(text, tokens, tree)
            self.counts["files"] += 1
            self.counts["long files"] += len(text.splitlines()) > LONG_FILE
            self.count_ignores(tokens)
            for name, node in functions(tree, ".".join(place.with_suffix("").parts)):
                self.count_function(name, node)

    def count_ignores(self, tokens):
        """Add the comments that silence the checker of types."""
        comments = (token.string for token in tokens if token.type == tokenize.COMMENT)
        for match in filter(None, map(IGNORE.search, comments)):
            codes = {code.strip() for code in (match[1] or "").split(",")}
            self.counts["ignored"] += 1
            for code in codes & OF_ANOTHER_CLASS:
                self.counts[code] += 1

    def count_function(self, name, node):
        """Add a function."""
        self.lengths[name] = node.end_lineno - node.lineno + 1 - len(docstring_lines(node))
        self.complexities[name] = 1 + complexity(node.body)
        each = annotations(node)
        self.counts["annotations"] += len(each)
        self.counts["Any"] += sum(bool(re.search(r"\bAny\b", text)) for text in each)

    def table(self):
        """Return the figures as they are printed, by name."""
        short = sum(length <= SHORT for length in self.lengths.values()) / len(self.lengths)
        return {
            "code lines": sum(self.rooms.values()),
            "files": self.counts["files"],
            f"files over {LONG_FILE} lines": self.counts["long files"],
            "functions": len(self.lengths),
            f"functions of at most {SHORT} lines": f"{short:.1%}",
            "longest functions, lines": largest(self.lengths),
            "highest complexities": largest(self.complexities),
            "annotations of parameters and returns": self.counts["annotations"],
            "annotations with Any": self.counts["Any"],
            "type: ignore": self.counts["ignored"],
            "type: ignore[attr-defined]": self.counts["attr-defined"],
            "type: ignore[misc]": self.counts["misc"],
        }


def largest(figures):
    """Return the largest figures and their names."""
    first = sorted(figures.items(), key=lambda item: -item[1])[:N_NAMED]
    return "; ".join(f"{figure} {name}" for name, figure in first)


def report(roots):
    """Return the tables of one checkout, or of two side by side, in Markdown."""
    sizes = [Size(root) for root in roots]
    names = ["before", "after"] if len(sizes) == 2 else [root.resolve().name for root in roots]
    tables = [size.table() for size in sizes]
    total = markdown_of(["", *names], [[key, *(t[key] for t in tables)] for key in tables[0]])
    rooms = sorted(set().union(*(size.rooms for size in sizes)))
    lines = [[room, *(size.rooms[room] or "-" for size in sizes)] for room in rooms]
    return f"{total}\n\n{markdown_of(['code lines of', *names], lines)}\n"


def main():
    """Parse the options, count and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = [Path(__file__).parent.parent]
    parser.add_argument("--root", type=Path, nargs="+", default=here, help="checkouts, one or two")
    parser.add_argument("--output", type=Path, help="file for the tables, besides printing them")
    args = parser.parse_args()
    text = report(args.root)
    print(text, end="")
    if args.output:
        args.output.write_text(text)


if __name__ == "__main__":
    main()
