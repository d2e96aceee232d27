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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

#: Moves that are measured; the first of all, which encodes the picture, is told apart.
MOVES = 30
#: Moves a slider, and says after how many milliseconds every picture is there that the view then
#: has. Nothing polls meanwhile: the browser shares the cores with the model.
_MOVE = """([scale]) => new Promise((done) => {
  const view = document.querySelector("#edit-view");
  const shown = () => [...view.querySelectorAll("img")].map((image) => image.src).join();
  const before = shown(), began = performance.now();
  const finish = async () => {
    await Promise.all([...view.querySelectorAll("img")].map((image) => image.decode()));
    done(performance.now() - began);
  };
  const watch = new MutationObserver(() => {
    if (shown() !== before) { watch.disconnect(); finish(); }
  });
  watch.observe(view, {subtree: true, childList: true, attributes: true});
  const slider = document.querySelector(".pe-scale input[type=range]");
  slider.value = scale;
  slider.dispatchEvent(new Event("input", {bubbles: true}));
})"""


def moved(page: Page, scale: float) -> tuple[float, float]:
    """Seconds until the picture is another one, and those of them that the server says it took."""
    seconds = page.evaluate(_MOVE, [str(scale)]) / 1000
    page.wait_for_timeout(150)
    return seconds, float(page.inner_text("#edit-note").split()[-2])


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
        first, _ = moved(page, 2)
        # Scales that were not there before; those are kept, and cost a third.
        found = [moved(page, round(1.95 - 0.05 * k, 2)) for k in range(moves) if k != 19]
        browser.close()
    shown, server = zip(*found, strict=True)
    return {
        "edits": edits,
        "instruction": instruction,
        "first": round(first, 3),
        "median": round(statistics.median(shown), 3),
        "p90": round(sorted(shown)[int(0.9 * len(shown))], 3),
        "server": round(statistics.median(server), 3),
    }


@contextmanager
def served(library: Path) -> Iterator[str]:
    """A studio on the library: its address."""
    words = ["--port", "0", "--json", "--library", str(library), "--device", "cpu"]
    command = [sys.executable, "-m", "pairedit_sdk", "studio", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())["url"]
        finally:
            server.terminate()


def main() -> None:
    """Measure with one edit, with an instruction beside it, and with all edits."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("library", type=Path)
    asked.add_argument("--edit", action="append", required=True)
    asked.add_argument("--instruction", default="add a necklace")
    asked.add_argument("--moves", type=int, default=MOVES)
    given = asked.parse_args()
    one = given.edit[:1]
    for edits, instruction in ((one, None), (one, given.instruction), (given.edit, None)):
        with served(given.library) as address:  # anew: nothing is kept from before
            print(json.dumps(measured(address, edits, instruction, given.moves)), flush=True)


if __name__ == "__main__":
    main()
