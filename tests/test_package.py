"""The package as a whole: what it exports, what its wheel holds, which way its imports go."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

import pairedit_sdk

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "pairedit_sdk"

#: Who may import whom, from the bottom up: a package imports from those before it alone. The two
#: parts of ``builtin`` stand for themselves: faces are drawn without a model, models are built with
#: most of what is here.
ORDER = (
    "errors", "io", "flow", "images", "lora", "models", "builtin.faces", "pairs", "edits",
    "words", "editing", "training", "basis", "lorweb", "sharing", "estimates", "jobs",
    "builtin.build", "bench", "studio", "cli", "__main__",
)  # fmt: skip
#: Research and what builds the built-in models: the SDK works without them.
APART = {"bench", "builtin.build"}
#: What may lie loose beside the packages.
LOOSE = {"__init__.py", "__main__.py", "errors.py", "py.typed"}

SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / PACKAGE).rglob("*.py"))
}


def imports(module: str, *, for_types: bool) -> Iterator[str]:
    """The modules of this package that ``module`` imports, early or late.

    ``for_types`` includes those that only the type checker sees.
    """
    pending: list[ast.AST] = [ast.parse(SOURCES[module].read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not for_types:
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith(PACKAGE))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively, line {node.lineno}"
            origin = node.module or ""
            if origin == PACKAGE or origin.startswith(f"{PACKAGE}."):
                for alias in node.names:
                    inner = f"{origin}.{alias.name}"
                    yield inner if inner in SOURCES else origin
        pending.extend(ast.iter_child_nodes(node))


def package(module: str) -> str:
    """The package of :data:`ORDER` that a module is in."""
    first, *rest = module.split(".")[1:]
    return f"{first}.{rest[0]}" if first == "builtin" and rest else first


INNER = [module for module in SOURCES if module not in (PACKAGE, f"{PACKAGE}.builtin")]


def test_nothing_lies_loose() -> None:
    found = {path.name for path in (ROOT / PACKAGE).iterdir() if path.is_file()}
    assert found == LOOSE


def test_every_package_has_a_place_in_the_order() -> None:
    assert {package(module) for module in INNER} == set(ORDER)
    assert len(set(ORDER)) == len(ORDER)


@pytest.mark.parametrize("module", INNER)
def test_imports_go_downwards_only(module: str) -> None:
    """Late imports and those for types included, so no two packages import each other."""
    place = ORDER.index(package(module))
    upwards = {
        other
        for other in imports(module, for_types=True)
        if other != PACKAGE and ORDER.index(package(other)) > place
    }
    assert upwards == set()


@pytest.mark.parametrize("module", INNER)
def test_only_the_command_line_uses_research_and_build_code(module: str) -> None:
    allowed = {package(module)} | (APART if package(module) == "cli" else set())
    used = {package(other) for other in imports(module, for_types=True) if other != PACKAGE}
    assert used & APART <= allowed


@pytest.mark.parametrize("module", INNER)
def test_nothing_imports_the_public_names_from_within(module: str) -> None:
    tree = ast.parse(SOURCES[module].read_text(encoding="utf-8"))
    from_top = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE
        for alias in node.names
        if f"{PACKAGE}.{alias.name}" not in SOURCES
    }
    assert from_top <= {"__version__"}


def test_there_are_no_cycles() -> None:
    graph = {module: set(imports(module, for_types=False)) - {PACKAGE} for module in INNER}
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, which names the cycle


def test_flow_is_mathematics_only() -> None:
    inside = [module for module in INNER if package(module) == "flow"]
    used = {package(other) for module in inside for other in imports(module, for_types=True)}
    assert used <= {"flow", "errors"}


def test_import_takes_no_torch() -> None:
    code = "import pairedit_sdk, sys; print({'torch', 'numpy', 'PIL', 'yaml'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")


@pytest.mark.parametrize("name", pairedit_sdk.__all__)
def test_public_name_can_be_used(name: str) -> None:
    assert getattr(pairedit_sdk, name) is not None
    assert name in dir(pairedit_sdk)


def test_type_checker_sees_the_same_names() -> None:
    tree = ast.parse(SOURCES[PACKAGE].read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: str(node.module).removeprefix(f"{PACKAGE}.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == pairedit_sdk._HOME
    assert {*seen, "__version__"} == set(pairedit_sdk.__all__)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'pairedit_sdk' has no attribute 'no_such'"):
        pairedit_sdk.no_such  # noqa: B018


def test_wheel_holds_what_the_demo_needs_and_nothing_else() -> None:
    from hatchling.builders.wheel import WheelBuilder

    names = {
        Path(file.distribution_path).as_posix()
        for file in WheelBuilder(str(ROOT)).recurse_included_files()
    }
    for path in ("recipes", "examples/pairs", "examples/edits"):
        files = [file for file in (ROOT / path).rglob("*") if file.is_file()]
        assert files
        assert {f"{PACKAGE}/{file.relative_to(ROOT).as_posix()}" for file in files} <= names
    weights = (ROOT / PACKAGE / "builtin/weights").rglob("*.safetensors")
    assert {path.relative_to(ROOT).as_posix() for path in weights} <= names
    assert f"{PACKAGE}/py.typed" in names
    assert {name.split("/")[0] for name in names} == {PACKAGE}


def test_dir_shows_the_public_names_only() -> None:
    assert dir(pairedit_sdk) == sorted(pairedit_sdk.__all__)


@pytest.mark.parametrize(("old", "new"), pairedit_sdk._RENAMED.items())
def test_a_former_name_works_and_says_the_new_one(old: str, new: str) -> None:
    with pytest.warns(
        DeprecationWarning, match=rf"pairedit_sdk\.{old} is now pairedit_sdk\.{new};"
    ):
        found = getattr(pairedit_sdk, old)
    assert found is getattr(pairedit_sdk, new)
    assert old not in pairedit_sdk.__all__


def test_load_base_is_load_model() -> None:
    assert pairedit_sdk.load_base is pairedit_sdk.load_model


@pytest.fixture(scope="module")
def structure() -> ModuleType:
    """The script that prints the package in figures."""
    spec = importlib.util.spec_from_file_location("structure", ROOT / "tests" / "structure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_functions_and_files_are_short(structure: ModuleType) -> None:
    found = list(structure.functions(ROOT))
    assert [f for f in found if f.lines > structure.MOST_LINES] == []
    assert [f for f in found if f.parameters > structure.MOST_PARAMETERS] == []
    lines = {m: len(p.read_text(encoding="utf-8").splitlines()) for m, p in SOURCES.items()}
    assert {m: count for m, count in lines.items() if count > structure.MOST_FILE_LINES} == {}


def test_no_two_packages_lead_to_each_other(structure: ModuleType) -> None:
    assert structure.knots(ROOT) == []


def test_knots_are_found(structure: ModuleType, tmp_path: Path) -> None:
    package = tmp_path / PACKAGE
    texts = {
        "a/__init__": "", "a/x": "def f():\n    from pairedit_sdk.b import y",
        "b/__init__": "", "b/y": "from pairedit_sdk.c.z import g",
        "c/__init__": "", "c/z": "if TYPE_CHECKING:\n    from pairedit_sdk.a.x import f",
        "d/__init__": "from pairedit_sdk.a import x", "__init__": "",
    }  # fmt: skip
    for name, text in texts.items():
        path = package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert structure.knots(tmp_path) == [{"a", "b", "c"}]
