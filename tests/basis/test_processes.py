"""The basis in several processes: writing at once, and killed at every point of every change.

Run as a script, it is those processes: pytest's own, whose torch has threads, never forks.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SLOW = pytest.mark.slow
#: By change: the names that the index may hold after a kill.
STATES = {
    "place": ["a b", "a b c", "a b c d"],
    "replace": ["a b"],
    "remove": ["a b", "b"],
    "rename": ["a b", "z b"],
    "reindex": ["a b"],
}


COMMAND = [sys.executable, __file__]


@contextmanager
def placing(folder: Path, first: int, count: int) -> Iterator[subprocess.Popen[str]]:
    """A process that loads torch, says that it is ready, and waits to be told to place edits."""
    with subprocess.Popen(
        [*COMMAND, "place", str(folder), str(first), str(count)], text=True, cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=one_thread(),
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def one_thread() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize(("processes", "each"), [(3, 5), pytest.param(8, 50, marks=SLOW)])
def test_several_processes_place_at_once(tmp_path: Path, processes: int, each: int) -> None:
    from pairedit_sdk.basis.index import read_index
    from pairedit_sdk.edits.edit import Edit

    with ExitStack() as stack:
        workers = [stack.enter_context(placing(tmp_path, each * k, each)) for k in range(processes)]
        for worker in workers:
            assert worker.stdout
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:  # all have loaded torch: they place at the same time
            assert worker.stdin
            worker.stdin.write("go\n")
            worker.stdin.flush()
        for worker in workers:
            _, said = worker.communicate()
            assert worker.returncode == 0, said[-3000:]
    index = read_index(tmp_path)
    assert sorted(index.names) == sorted(f"e{number}" for number in range(processes * each))
    assert len(index.keys) == processes * each
    for name in index.names:
        Edit.load(tmp_path / f"{name}.safetensors")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks")
def test_a_kill_at_any_point_leaves_a_whole_basis(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "kill", str(tmp_path)], capture_output=True, text=True, check=False, cwd=ROOT,
        env=one_thread(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    passed = json.loads(done.stdout)
    assert passed.keys() == STATES.keys()
    for change, points in passed.items():
        assert {"open", "torn", "rename"} <= {kind for kind, _ in points}, change


# From here on: the script.


def main(what: str, folder: str, *words: str) -> None:
    import torch

    assert torch.get_num_threads() == 1  # or a forked child could wait for threads it has not got
    if what == "place":
        first, count = map(int, words)
        print("ready", flush=True)
        assert sys.stdin.readline() == "go\n"
        place(Path(folder), [f"e{number}" for number in range(first, first + count)])
    else:
        print(json.dumps({change: killed(Path(folder) / change, change) for change in STATES}))


class _Encoder:
    """Makes placing quick: what is under test is the writing."""

    name = "mini"

    def embed(self, images: list[object]) -> object:
        import torch

        return torch.nn.functional.normalize(torch.randn(len(images), 8), dim=-1)


def place(folder: Path, names: list[str], *, replacing: bool = False) -> None:
    """Place edits one after the other, and note each that is placed."""
    import torch
    from PIL import Image

    from pairedit_sdk.basis.edit_basis import EditBasis
    from pairedit_sdk.edits.edit import Edit, EditInfo
    from pairedit_sdk.lora.layers import LoraLayer
    from pairedit_sdk.pairs.pair_set import PairSet

    pairs = PairSet.from_images([(Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8), "red"))])
    basis = EditBasis.open(folder)
    basis._encoder = _Encoder()  # type: ignore[assignment]
    for name in names:
        layers = {"x_embedder": LoraLayer(torch.ones(1, 4), torch.ones(3, 1))}
        edit = Edit(layers, EditInfo(name, base="mini", base_fingerprint="f", rank=1))
        basis.place(edit, pairs, replacing=replacing)
        with folder.with_suffix(".done").open("a", encoding="utf-8") as done:
            done.write(f"{name}\n")


def killed(folder: Path, change: str) -> list[tuple[str, int]]:
    """Kill the change at every point that it passes, and look at what is left each time."""
    from killing import every, forked

    from pairedit_sdk.basis.edit_basis import EditBasis

    def work(basis: Path, _: object) -> None:
        changes: dict[str, Callable[[], object]] = {
            "place": partial(place, basis, ["c", "d"]),
            "replace": partial(place, basis, ["a"], replacing=True),
            "remove": partial(EditBasis.open(basis).remove, "a"),
            "rename": partial(EditBasis.open(basis).rename, "a", "z"),
            "reindex": EditBasis.open(basis).reindex,
        }
        changes[change]()

    begun, whole, noted = folder / "begun", folder / "whole", folder / "noted"
    place(begun, ["a", "b"])
    shutil.copytree(begun, whole)
    assert forked(partial(work, whole), whole, noted_in=noted) == 0
    assert look(whole) == STATES[change][-1]
    points = list(every(noted))
    for kind, number in points:
        here = folder / f"{kind}-{number}"
        shutil.copytree(begun, here)
        assert forked(partial(work, here), here, (kind, number)) == signal.SIGKILL
        assert look(here) in STATES[change], (kind, number)
        place(here, ["y"])  # the lock of the killed one is free
        assert look(here).endswith("y"), (kind, number)
    return points


def look(folder: Path) -> str:
    """The names in the index, all of whose files are whole."""
    from pairedit_sdk.basis.index import read_index
    from pairedit_sdk.basis.placing import read_embeddings
    from pairedit_sdk.edits.edit import Edit

    index = read_index(folder)
    for name in index.names:
        assert Edit.load(folder / f"{name}.safetensors").name == name
        read_embeddings(folder, name)
    done = folder.with_suffix(".done")
    assert set(done.read_text().split() if done.is_file() else []) <= set(index.names)
    return " ".join(index.names)


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    main(*sys.argv[1:])
