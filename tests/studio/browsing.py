"""The studio in a real browser: a server of its own, a page, and what went over the network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: Milliseconds that the page has for anything.
PATIENCE = 60_000
#: Where screenshots are kept, for people to look at.
SHOTS = Path(__file__).resolve().parents[2] / "out" / "studio"


def browser_path() -> str:
    """The browser of this machine; without one the test is skipped."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("there is no Chromium")
    return found


@contextmanager
def studio(library: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A studio in a process of its own: its address, and the process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pairedit_sdk", "studio", "--port", "0", "--json", "--library",
         str(library), "--device", "cpu", *options],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"GRADIO_ANALYTICS_ENABLED": "False"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, "the studio did not start"
        yield json.loads(line)["url"], process
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


@dataclass
class Seen:
    """What a page did besides what was asked of it.

    Attributes:
        errors: of the console and of scripts.
        foreign: requests to other machines.
    """

    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)


@contextmanager
def page_at(address: str, *, width: int = 1280, height: int = 900) -> Iterator[tuple[Page, Seen]]:
    """A page of the studio, and what is seen of it."""
    from playwright.sync_api import sync_playwright

    seen = Seen()
    # As root there is no sandbox to be had.
    args = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=browser_path(), args=args)
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda m: seen.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.on(
            "request",
            lambda request: (
                seen.foreign.append(request.url)
                if not request.url.startswith((address.split("?")[0], "data:", "blob:"))
                else None
            ),
        )
        page.goto(address)
        page.wait_for_selector("button[role=tab]")
        try:
            yield page, seen
        except BaseException:
            shoot(page, "failed")
            raise
        finally:
            browser.close()


def reload(page: Page, seen: Seen) -> None:
    """Load the page again. What the browser cuts off by that is no fault of the page."""
    assert seen.errors == []
    page.reload()
    page.wait_for_selector("button[role=tab]")
    page.wait_for_timeout(500)
    seen.errors[:] = [
        text for text in seen.errors if "aborted" not in text and "Connection errored" not in text
    ]


def shoot(page: Page, name: str) -> None:
    """Keep a screenshot."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(500)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def go_to(page: Page, tab: str) -> None:
    """Show a tab, wherever its button is on a narrow page."""
    page.get_by_role("tab", name=tab, exact=True).click()


def slider_of(page: Page, label: str) -> Locator:
    """The slider of an edit, which can be moved."""
    slider = page.locator(".pe-scale", has_text=label).locator("input[type=range]")
    slider.wait_for()
    assert slider.is_enabled()
    return slider


def move_slider(page: Page, label: str, scale: float, *, release: bool = True) -> None:
    """Drag the slider of an edit with the mouse, until it stands at the scale."""
    slider = slider_of(page, label)
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    least, most = (float(slider.get_attribute(name) or 0) for name in ("min", "max"))
    knob = box["height"]  # about as wide as the track is high; the rest is found by looking

    def place(value: float) -> float:
        return box["x"] + knob / 2 + (value - least) / (most - least) * (box["width"] - knob)

    x, y = place(scale), box["y"] + box["height"] / 2
    page.mouse.move(place(float(slider.input_value())), y)
    page.mouse.down()
    page.mouse.move(x, y, steps=8)
    for _ in range(40):
        off = scale - float(slider.input_value())
        if abs(off) < 1e-6:
            break
        x += 1 if off > 0 else -1
        page.mouse.move(x, y)
    assert float(slider.input_value()) == pytest.approx(scale)
    if release:
        page.mouse.up()


def paint(page: Page, start: tuple[float, float], end: tuple[float, float]) -> float:
    """Paint a stroke on the mask with the mouse.

    Args:
        page: with the part for the mask open.
        start: as shares of the picture's width and height.
        end: in the same way.

    Returns:
        The brush's width, as a share of the picture's.
    """
    canvas = page.locator("#edit-mask canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    places = [
        (box["x"] + across * box["width"], box["y"] + down * box["height"])
        for across, down in (start, end)
    ]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=6)
    page.mouse.up()
    return float(page.locator("#edit-mask input[type=range]").input_value()) / box["width"]


def wait_for_text(page: Page, selector: str, text: str) -> None:
    """Wait until an element says this."""
    page.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.innerText.includes(text)",
        arg=[selector, text],
    )
