"""How long the page takes from a slider to the new picture, in a real browser.

    python benchmarks/studio.py out/demo --edit glasses --edit hat

Starts the studio on a library, moves the slider of the first edit, and waits each time until the
browser shows another picture. Needs the extra dev and a Chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

from playwright.sync_api import Page, sync_playwright

#: Moves that are measured; the first of all, which encodes the picture, is told apart.
MOVES = 30
_SHOWN = "[...document.querySelectorAll('#edit-view img')].map(i => i.src).join()"
_CHANGED = (
    f"before => {_SHOWN} != before && [...document.querySelectorAll('#edit-view img')]"
    ".every(i => i.complete)"
)
_MOVE = "(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})); }"


def moved(page: Page, scale: float) -> tuple[float, float]:
    """Seconds until the picture is another one, and those of them that the server says it took."""
    slider = page.locator(".pe-scale input[type=range]").first
    before = page.evaluate(_SHOWN)
    started = perf_counter()
    slider.evaluate(_MOVE, str(scale))
    page.wait_for_function(_CHANGED, arg=before, polling=10)
    seconds = perf_counter() - started
    note = page.inner_text("#edit-note")
    return seconds, float(note.split()[-2])


def measured(address: str, edits: list[str], instruction: str | None, moves: int) -> dict[str, Any]:
    """Medians over moves of the first edit's slider, beside the other edits and an instruction."""
    query = "?edits=" + ",".join(f"{name}:1" for name in edits)
    query += f"&say={instruction}:1" if instruction else ""
    args = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    browser_path = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))))
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=browser_path, args=args)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(address + query)
        page.wait_for_selector(".pe-scale")
        page.click("#edit-example")
        page.wait_for_function(
            "document.querySelector('#edit-note').innerText.includes('512 × 512')"
        )
        page.wait_for_timeout(1000)
        first, _ = moved(page, 0.2)
        found = [moved(page, round(0.25 + 1.5 * k / moves, 3)) for k in range(moves)]
        browser.close()
    shown, server = zip(*found, strict=True)
    return {
        "edits": edits,
        "instruction": instruction,
        "first": round(first, 3),
        "median": round(statistics.median(shown), 3),
        "p90": round(sorted(shown)[int(0.9 * moves)], 3),
        "server": round(statistics.median(server), 3),
    }


def main() -> None:
    """Measure with one edit, with an instruction beside it, and with all edits."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("library", type=Path)
    asked.add_argument("--edit", action="append", required=True)
    asked.add_argument("--instruction", default="add a necklace")
    asked.add_argument("--moves", type=int, default=MOVES)
    given = asked.parse_args()
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pairedit_sdk",
            "studio",
            "--port",
            "0",
            "--json",
            "--library",
            str(given.library),
            "--device",
            "cpu",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        address = json.loads(server.stdout.readline())["url"]
        plans = [(given.edit[:1], None), (given.edit[:1], given.instruction), (given.edit, None)]
        for edits, instruction in plans:
            print(json.dumps(measured(address, edits, instruction, given.moves)), flush=True)
    finally:
        server.terminate()
        server.wait(60)


if __name__ == "__main__":
    main()
