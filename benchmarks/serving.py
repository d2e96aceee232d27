"""How many pictures a second the HTTP API makes: by one process, and by replicas on Ray.

Each server is started, asked, and ended again, with pictures of drawn faces. The figures in
docs/serving.md are this script's. Only this machine is asked, and the loads are bounded.

Run: python benchmarks/serving.py EDITS [ROUNDS]
where EDITS is a library of edits that were learned on one model.
"""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import httpx
import psutil

from pairedit_sdk.builtin.faces.face import sample_face

CLIENTS, REQUESTS, SINGLE, STEPS = 4, 24, 9, 4
#: Seconds that anything may take.
HANGS = 300

#: An edit that no replica finds: what a request costs besides the picture.
UNKNOWN = ["unknown-edit"]
SERVERS = {
    "one process": ("--no-page",),
    "Ray, 1 replica": ("--replicas", "1"),
    "Ray, 2 replicas": ("--replicas", "2"),
}


@contextmanager
def served(library: Path, *options: str) -> Iterator[tuple[str, psutil.Process]]:
    """The server's address and its process."""
    command = [sys.executable, "-m", "pairedit_sdk.cli", "studio", "--port", "0", "--json"]
    # Ray lets its processes give way to all others, which would be what is measured.
    environment = {**os.environ, "RAY_worker_niceness": "0"}
    with subprocess.Popen(
        [*command, "--library", str(library), *options],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            url = json.loads(process.stdout.readline())["url"]
            yield url, psutil.Process(process.pid)
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        finally:
            process.kill()


def face(seed: int) -> bytes:
    file = BytesIO()
    sample_face(random.Random(seed), style="photo").draw(128).save(file, "png")
    return file.getvalue()


def ask(url: str, seed: int, names: list[str]) -> float:
    """Seconds for one picture, under one edit of the library or two."""
    edits = [{"name": name} for name in names[: 1 + seed % 2]]
    request = {"edits": edits, "steps": STEPS, "seed": seed}
    begun = time.monotonic()
    answer = httpx.post(
        f"{url}api/edit",
        files={"image": face(seed)},
        data={"request": json.dumps(request)},
        timeout=HANGS,
    )
    if names != UNKNOWN:
        answer.raise_for_status()
    return time.monotonic() - begun


def replicas(process: psutil.Process) -> list[psutil.Process]:
    found = process.children(recursive=True)
    return [one for one in found if any(":Replica" in word for word in words_of(one))]


def words_of(process: psutil.Process) -> list[str]:
    """A process's command line; none of one that has just ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def seconds_until_back(url: str, process: psutil.Process) -> float:
    """Kill a replica, and wait until there are as many as before."""
    before = replicas(process)
    os.kill(before[0].pid, signal.SIGKILL)
    begun = time.monotonic()
    while time.monotonic() - begun < HANGS:
        there = replicas(process)
        ready = httpx.get(f"{url}api/health", timeout=HANGS).json()["replicas"]
        if before[0] not in there and len(there) == ready == len(before):
            return time.monotonic() - begun
        time.sleep(0.1)
    raise TimeoutError("the replica did not come back")


def measured(library: Path, rounds: int) -> dict[str, dict[str, list[float]]]:
    names = sorted(path.stem for path in library.glob("*.safetensors"))
    found: dict[str, dict[str, list[float]]] = {name: {} for name in SERVERS}
    for _ in range(rounds):
        for name, options in SERVERS.items():
            with served(library, *options) as (url, process):
                row = found[name]
                for seed in range(4):  # the first ones load, read and warm up
                    ask(url, seed, names)
                single = [ask(url, seed, names) for seed in range(SINGLE)]
                row.setdefault("single", []).append(statistics.median(single))
                refused = [1000 * ask(url, seed, UNKNOWN) for seed in range(50)]
                row.setdefault("refused", []).append(statistics.median(refused))
                begun = time.monotonic()
                with ThreadPoolExecutor(CLIENTS) as clients:
                    list(clients.map(lambda seed: ask(url, seed, names), range(REQUESTS)))
                row.setdefault("rate", []).append(REQUESTS / (time.monotonic() - begun))
                if len(replicas(process)) > 1:
                    row.setdefault("back", []).append(seconds_until_back(url, process))
                print(name, json.dumps(row), file=sys.stderr)
    return found


def main() -> None:
    library, rounds = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3
    found = measured(library, rounds)
    print("| | pictures/s, 4 clients | s/picture, 1 client | ms besides | s until back |")
    print("|---|---|---|---|---|")
    for name, row in found.items():
        cells = [
            f"{statistics.median(row[key]):.{digits}f}" if key in row else "–"
            for key, digits in (("rate", 2), ("single", 2), ("refused", 0), ("back", 0))
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
