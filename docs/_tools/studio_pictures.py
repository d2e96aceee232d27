"""Draws the pictures of docs/studio.md: ``python -m docs._tools.studio_pictures EDITS``.

EDITS is a new library, best with a short relative path, as the page shows it. Two edits are trained
in it on the page itself, which takes two minutes. Needs the extra dev and a Chromium.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from pairedit_sdk.io.resources import examples_dir
from tests.studio.browsing import go_to, move_slider, page_at, studio, wait_for_text

if TYPE_CHECKING:
    from playwright.sync_api import Page

FOLDER = Path(__file__).resolve().parents[1] / "images" / "studio"


def shot(page: Page, name: str) -> None:
    """The whole page, in few colours: a tenth of the bytes, and nobody sees it."""
    page.wait_for_timeout(1500)
    with Image.open(BytesIO(page.screenshot(full_page=True))) as image:
        small = image.convert("RGB").quantize(200, dither=Image.Dither.NONE)
    FOLDER.mkdir(parents=True, exist_ok=True)
    small.save(FOLDER / f"{name}.png", optimize=True)


def give_pairs(page: Page, part: str, name: str) -> None:
    """Upload an example's pairs."""
    for side, folder in (("before", "source"), ("after", "target")):
        files = sorted((examples_dir() / "pairs" / name / folder).iterdir())
        page.set_input_files(f"#{part}-{side} input[type=file]", files)
        wait_for_text(page, f"#{part}-{side}", "KB")


def train(page: Page, name: str) -> None:
    """Train an edit, and take the picture of the last one."""
    page.reload()  # files that are uploaded join those that are there
    go_to(page, "Pairs and training")
    give_pairs(page, "train", name)
    wait_for_text(page, "#train-verdict", "Worth training")
    page.fill("#train-name input, #train-name textarea", name)
    page.wait_for_timeout(1000)
    page.click("#train-start")
    wait_for_text(page, "#train-status", f"{name} ")
    if name == "glasses":
        page.wait_for_selector("#train-preview img", timeout=300_000)
        page.wait_for_timeout(5000)
        shot(page, "train")
    page.wait_for_selector("#train-status [data-state=done]", timeout=600_000)


def edit(page: Page) -> None:
    """The tab for editing."""
    go_to(page, "Edit")
    page.click("#edit-example")
    page.click("#edit-names input")
    for name in ("glasses", "hat"):
        page.get_by_role("option", name=name).click()
        page.locator(".pe-scale", has_text=name).wait_for()
    page.click("#edit-note")
    wait_for_text(page, "#edit-note", "512 × 512")
    move_slider(page, "hat", 0.9)
    page.wait_for_timeout(2000)
    page.get_by_role("button", name="Strip over scales").click()
    page.wait_for_timeout(500)
    page.click("#edit-strip-draw")
    page.wait_for_selector("#edit-strip img")
    page.get_by_role("button", name="Copy as command or Python").click()
    wait_for_text(page, "#edit-code", "pairedit edit")
    shot(page, "edit")


def compose(page: Page) -> None:
    """The tab for composing, with an analogy."""
    go_to(page, "Compose and basis")
    for name in ("glasses", "hat"):
        page.wait_for_timeout(1000)
        page.click("#basis-place-name input")
        page.get_by_role("option", name=name, exact=True).click()
        page.click("#basis-place")
        wait_for_text(page, "#basis-status", f"Placed {name}")
    page.click("#analogy-example")
    page.wait_for_selector("#analogy-b img")
    page.click("#analogy-ask")
    page.wait_for_selector("#analogy-answer img")
    shot(page, "compose")


def library(page: Page) -> None:
    """The library's tab."""
    go_to(page, "Library")
    page.locator("#library-grid button", has_text="glasses").first.click()
    wait_for_text(page, "#library-about", "mini-kontext")
    shot(page, "library")


def main() -> None:
    """Draw all of them."""
    where = Path(sys.argv[1])
    where.mkdir()
    with studio(where, "--base", "mini-kontext") as (address, _), page_at(address) as (page, _seen):
        for name in ("hat", "glasses"):
            train(page, name)
        edit(page)
        compose(page)
        library(page)


if __name__ == "__main__":
    main()
