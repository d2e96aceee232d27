"""The whole story in a real browser, on the built-in edit model: pairs, a training that survives
the studio's death, sliders, a strip, a sum, the basis, an analogy, and a file for another tool.

Screenshots of every tab are kept in out/studio.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

from pairedit_sdk.edits.library import EditLibrary
from pairedit_sdk.io.resources import examples_dir
from tests.studio.browsing import (
    browser_path,
    go_to,
    move_slider,
    page_at,
    reload,
    shoot,
    studio,
    wait_for_text,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

STEPS = 60


def pictures(name: str, side: str) -> list[Path]:
    return sorted((examples_dir() / "pairs" / name / side).iterdir())


def give_pairs(page: Page, part: str, name: str) -> None:
    for side, folder in (("before", "source"), ("after", "target")):
        page.set_input_files(f"#{part}-{side} input[type=file]", pictures(name, folder))
        wait_for_text(page, f"#{part}-{side}", "KB")


def fill_training(page: Page, name: str) -> None:
    """Choose pairs, a name and few steps."""
    give_pairs(page, "train", name)
    wait_for_text(page, "#train-verdict", "Worth training")
    page.fill("#train-name input, #train-name textarea", name)
    page.get_by_role("button", name="Settings").click()
    page.wait_for_timeout(500)  # nobody types while the part is still opening
    page.fill("#train-steps input", str(STEPS))
    page.locator("#train-steps input").press("Tab")
    page.wait_for_timeout(500)
    assert page.locator("#train-steps input").input_value() == str(STEPS)


def state(page: Page, wanted: str) -> None:
    page.wait_for_selector(f"#train-status [data-state={wanted}]", timeout=300_000)


def test_the_whole_story(tmp_path: Path) -> None:
    browser_path()
    library = tmp_path / "edits"
    library.mkdir()
    with studio(library, "--base", "mini-kontext") as (address, server):
        with page_at(address) as (page, seen):
            go_to(page, "Pairs and training")
            fill_training(page, "glasses")
            wait_for_text(page, "#train-estimate", "of memory")
            page.click("#train-start")
            state(page, "running")
            page.wait_for_selector("#train-loss canvas, #train-loss svg")
            shoot(page, "train-running")
            # A page that is loaded again shows the same training.
            page.wait_for_url(lambda url: "run=glasses" in url)
            reload(page, seen)
            state(page, "running")
            page.click("#train-stop")
            state(page, "stopped")
            page.click("#train-resume")
            state(page, "done")
            page.wait_for_selector("#train-preview img")
            shoot(page, "train")

            go_to(page, "Edit")
            page.click("#edit-example")
            page.click("#edit-names input")
            page.get_by_role("option", name="glasses").click()
            wait_for_text(page, "#edit-note", "512 × 512")
            move_slider(page, "glasses", 0.9)
            page.wait_for_url(lambda url: "edits=glasses%3A0.9" in url)
            page.fill("#edit-phrase input, #edit-phrase textarea", "add a beanie")
            page.click("#edit-add")
            page.locator(".pe-scale").nth(1).wait_for()
            wait_for_text(page, "#edit-note", "512 × 512")
            page.get_by_role("button", name="Strip over scales").click()
            page.click("#edit-strip-draw")
            page.wait_for_selector("#edit-strip img")
            page.get_by_role("button", name="Copy as command or Python").click()
            wait_for_text(page, "#edit-code", "pairedit edit face.png")
            shoot(page, "edit")

            go_to(page, "Compose and basis")
            wait_for_text(page, "#compose-table", "glasses")
            page.fill("#compose-name input, #compose-name textarea", "both")
            page.click("#compose-save")
            wait_for_text(page, "#compose-status", "both")
            give_pairs(page, "basis", "glasses")
            page.click("#basis-place-name input")
            page.get_by_role("option", name="glasses", exact=True).click()
            page.click("#basis-place")
            wait_for_text(page, "#basis-status", "Placed glasses")
            page.click("#analogy-example")
            page.wait_for_selector("#analogy-b img")
            page.click("#analogy-ask")
            wait_for_text(page, "#analogy-sentence", "glasses")
            page.wait_for_selector("#analogy-answer img")
            shoot(page, "compose")
            page.click("#analogy-take")
            page.wait_for_url(lambda url: "tab=" not in url)

            go_to(page, "Library")
            page.locator("#library-grid button", has_text="glasses").first.click()
            wait_for_text(page, "#library-about", "mini-kontext")
            shoot(page, "library")
            page.get_by_role("button", name="Export for another tool").click()
            page.click("#library-export")
            page.wait_for_selector("#library-download a")
            page.click("#library-delete")
            page.wait_for_selector("#library-undo")
            assert "glasses" not in EditLibrary(library)
            page.click("#library-undo")
            page.wait_for_function("!document.querySelector('#library-undo')")
            assert "glasses" in EditLibrary(library)
            assert seen.errors == []
            assert seen.foreign == []
        assert server.poll() is None


def test_a_training_goes_on_bit_for_bit_after_the_studio_is_killed(tmp_path: Path) -> None:
    """Resumed once on the page of another studio, and once with the command that the page shows;
    both against a training that nothing happened to."""
    browser_path()
    made = {}
    for ending in ("page", "command", "nothing"):
        library = tmp_path / ending
        library.mkdir()
        with (
            studio(library, "--base", "mini") as (address, server),
            page_at(f"{address}?tab=train") as (page, _),
        ):
            fill_training(page, "hat")
            page.click("#train-start")
            state(page, "running")
            if ending == "nothing":
                state(page, "done")
            else:
                page.wait_for_function(
                    "parseInt(document.querySelector('#train-status').innerText.match(/\\d+/)) > 5"
                )
                os.kill(server.pid, signal.SIGKILL)
        if ending != "nothing":
            go_on(library, on_page=ending == "page")
        made[ending] = load_file(library / "hat.safetensors")
    for ending in ("page", "command"):
        assert made[ending].keys() == made["nothing"].keys()
        for name, tensor in made[ending].items():
            assert torch.equal(tensor, made["nothing"][name])


def go_on(library: Path, *, on_page: bool) -> None:
    with (
        studio(library, "--base", "mini") as (address, _),
        page_at(f"{address}?tab=train&run=hat") as (page, _seen),
    ):
        state(page, "stopped")
        if on_page:
            page.click("#train-resume")
            state(page, "done")
            return
        command = page.locator("#train-command textarea").input_value()
    assert command.startswith("pairedit train ")
    subprocess.run(f"{sys.executable} -m {command.replace('pairedit', 'pairedit_sdk', 1)}",
                   shell=True, check=True, capture_output=True)  # fmt: skip
    assert json.loads((library / "runs" / "hat" / "config.json").read_text())["name"] == "hat"
