"""What the package looks like from outside, in figures: ``python tests/structure.py [CHECKOUT]``.

Prints packages, loose modules, cycles between packages, long functions, functions of many
parameters, long files and ``fmt: skip``. tests/test_package.py holds what it may be.
"""

from __future__ import annotations

import ast
import itertools
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


def cycles(root: Path) -> list[tuple[str, str]]:
    """Pairs of units that import each other."""
    modules = sources(root)
    packages = {module.removeprefix(f"{PACKAGE}.") for module, p in modules.items()
                if p.name == "__init__.py"}  # fmt: skip
    edges = {
        (unit(module, packages), unit(other, packages))
        for module, path in modules.items()
        for other in imports(path, set(modules))
    }
    pairs = itertools.combinations(sorted({one for edge in edges for one in edge} - {""}), 2)
    return [(a, b) for a, b in pairs if (a, b) in edges and (b, a) in edges]


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
    both = cycles(root)
    print(f"packages           {len(packages)}: {' '.join(packages)}")
    print(f"loose modules      {len(loose)}: {' '.join(loose)}")
    print(f"mutual imports     {len(both)}: {', '.join(f'{a} <-> {b}' for a, b in both)}")
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
