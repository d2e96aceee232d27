"""What the package looks like from outside, in figures: ``python tests/structure.py [CHECKOUT]``.

Prints packages, loose modules, knots of imports between them, long functions, functions of many
parameters, long files and ``fmt: skip``. tests/test_package.py holds what it may be.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "pairedit_sdk"
#: Most lines of a function, parameters of one (``self`` and ``cls`` are not counted), and lines of
#: a file. What the command line declares is exempt from the first two.
MOST_LINES, MOST_PARAMETERS, MOST_FILE_LINES = 60, 8, 300


@dataclass(frozen=True)
class Function:
    """One function of the package: where it is, its lines and its parameters."""

    place: str
    name: str
    lines: int
    parameters: int


def sources(root: Path) -> dict[str, Path]:
    """The modules of a checkout by their dotted names."""
    found = sorted((root / PACKAGE).rglob("*.py"))
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in found
    }


def imports(path: Path, known: set[str]) -> Iterator[str]:
    """The package's modules that a file imports, late and for types only included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith(f"{PACKAGE}."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else str(node.module)


def unit(module: str, packages: set[str]) -> str:
    """The package or loose module that a module belongs to; the two parts of ``builtin`` apart."""
    parts = module.split(".")[1:]
    name = parts[0] if parts else ""
    if name == "builtin" and len(parts) > 1 and f"builtin.{parts[1]}" in packages:
        return f"builtin.{parts[1]}"
    return name


def edges(root: Path) -> set[tuple[str, str]]:
    """Which unit imports which."""
    modules = sources(root)
    packages = {
        module.removeprefix(f"{PACKAGE}.")
        for module, path in modules.items()
        if path.name == "__init__.py"
    }
    found = {
        (unit(module, packages), unit(other, packages))
        for module, path in modules.items()
        for other in imports(path, set(modules))
    }
    return {(one, other) for one, other in found if one != other and one and other}


def knots(root: Path) -> list[set[str]]:
    """Units that lead to each other by their imports, in groups; none where all go downwards."""
    found = edges(root)
    below: dict[str, set[str]] = {}
    for start in {unit for edge in found for unit in edge}:
        reached, pending = set(), [start]
        while pending:
            one = pending.pop()
            new = {other for origin, other in found if origin == one} - reached
            reached |= new
            pending += new
        below[start] = reached
    groups = {
        frozenset(two for two in reached if one in below[two]) for one, reached in below.items()
    }
    return sorted((set(group) for group in groups if len(group) > 1), key=len, reverse=True)


def functions(root: Path) -> Iterator[Function]:
    """Every function, but the commands that typer reads its options from."""
    for module, path in sources(root).items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_command(node):
                continue
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = sum(argument.arg not in ("self", "cls") for argument in given)
            lines = (node.end_lineno or 0) - node.lineno + 1
            yield Function(module.removeprefix(f"{PACKAGE}."), node.name, lines, count)


def _is_command(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether typer reads a command's options from this function's parameters."""
    text = " ".join(ast.unparse(part) for part in (node.args, *node.decorator_list))
    return any(word in text for word in ("typer.", "options.", ".command("))


def skips(root: Path) -> dict[str, int]:
    """``fmt: skip`` in the package and in the tests."""
    mark = "# fmt: " + "skip"
    return {
        folder: sum(
            p.read_text(encoding="utf-8").count(mark) for p in (root / folder).rglob("*.py")
        )
        for folder in (PACKAGE, "tests")
    }


def main() -> None:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    top = root / PACKAGE
    packages = sorted(p.name for p in top.iterdir() if (p / "__init__.py").is_file())
    loose = sorted(p.name for p in top.glob("*.py"))
    lines = {m: len(p.read_text(encoding="utf-8").splitlines()) for m, p in sources(root).items()}
    found = list(functions(root))
    long = sorted((f for f in found if f.lines > MOST_LINES), key=lambda f: -f.lines)
    wide = sorted((f for f in found if f.parameters > MOST_PARAMETERS), key=lambda f: -f.parameters)
    tied = knots(root)
    print(f"packages           {len(packages)}: {' '.join(packages)}")
    print(f"loose modules      {len(loose)}: {' '.join(loose)}")
    print(f"knots of imports   {len(tied)}")
    for group in tied:
        print(f"    {len(group):4d}  {' '.join(sorted(group))}")
    print(f"functions > {MOST_LINES} lines      {len(long)}")
    for f in long:
        print(f"    {f.lines:4d}  {f.place}.{f.name}")
    print(f"functions > {MOST_PARAMETERS} parameters  {len(wide)}")
    for f in wide:
        print(f"    {f.parameters:4d}  {f.place}.{f.name}")
    sizes = [count for count in lines.values() if count > 1]
    print(f"lines of a file    median {statistics.median(sizes):.0f}, most {max(sizes)}")
    for module, count in sorted(lines.items(), key=lambda item: -item[1]):
        if count > MOST_FILE_LINES:
            print(f"    {count:4d}  {module}")
    print("fmt: skip          " + ", ".join(f"{k} {v}" for k, v in skips(root).items()))


if __name__ == "__main__":
    main()
