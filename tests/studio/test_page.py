"""The page in a real browser, with a real mouse: the short way from a picture to an edited one, and
back after a reload; the keyboard; a painted mask. The whole story is in test_story.py."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pairedit_sdk.builtin.faces.numbered import face_at
from pairedit_sdk.images.image import read_image
from pairedit_sdk.images.metadata import read_made
from tests.studio.browsing import (
    browser_path,
    move_slider,
    page_at,
    paint,
    reload,
    slider_of,
    studio,
    wait_for_text,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

WIDE = (900, 600)


def sources(page: Page) -> list[str]:
    """The pictures that are compared."""
    return page.evaluate("[...document.querySelectorAll('#edit-view img')].map(i => i.src)")


def wait_for_another(page: Page, before: list[str], note: str) -> None:
    """Wait for another picture than those before, and for what the note says of it."""
    page.wait_for_function(
        "([before, note]) => document.querySelector('#edit-note').innerText.includes(note)"
        " && [...document.querySelectorAll('#edit-view img')].some(i => !before.includes(i.src))",
        arg=[before, note],
    )


def choose(page: Page, name: str) -> None:
    page.click("#edit-names input")
    page.get_by_role("option", name=name).click()


def downloaded(page: Page, path: Path) -> Path:
    with page.expect_download() as waiting:
        page.click("#edit-download")
    waiting.value.save_as(path)
    return path


def made_with(page: Page, path: Path) -> list[dict[str, object]]:
    """The edits that made the picture that can be downloaded."""
    made = read_made(downloaded(page, path))
    assert made is not None
    return made["edits"]


def test_a_picture_is_edited_with_a_slider_and_survives_a_reload(
    hats: Path, tmp_path: Path
) -> None:
    browser_path()
    face_at(5).draw(256).save(tmp_path / "face.png")
    with studio(hats, "--base", "mini") as (address, _), page_at(address) as (page, seen):
        page.set_input_files("#edit-picture input[type=file]", tmp_path / "face.png")
        wait_for_text(page, "#edit-note", "as it is")
        choose(page, "hat")
        wait_for_text(page, "#edit-note", "256 × 256")
        before = sources(page)
        move_slider(page, "hat", 1.5, release=False)
        wait_for_another(page, before, "Draft")
        move_slider(page, "hat", 0.4)
        wait_for_another(page, before, "256 × 256")
        page.wait_for_timeout(1000)  # no draft comes late
        assert "256 × 256" in page.locator("#edit-note").inner_text()
        assert made_with(page, tmp_path / "got.png") == [{"name": "hat", "scale": 0.4}]
        assert read_image(tmp_path / "got.png").size == (256, 256)

        before = sources(page)
        slider_of(page, "hat").focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_url(lambda url: "edits=hat%3A0.45" in url)
        wait_for_another(page, before, "256 × 256")
        assert made_with(page, tmp_path / "next.png") == [{"name": "hat", "scale": 0.45}]

        reload(page, seen)
        wait_for_text(page, "#edit-note", "256 × 256")
        assert page.locator(".pe-scale input[type=number]").input_value() == "0.45"
        with page.expect_download() as waiting:
            page.click("#edit-download")
        assert waiting.value.suggested_filename == "face-hat.png"

        number = page.locator(".pe-scale input[type=number]")
        number.fill("")  # as somebody does who types another
        number.fill("0.3")
        number.press("Enter")
        page.wait_for_function("location.href.includes('edits=hat%3A0.3')")
        assert page.locator("[data-testid=toast-body]").count() == 0
        assert seen.errors == []
        assert seen.foreign == []


def test_an_edit_acts_where_the_mask_is_painted_alone(hats: Path, tmp_path: Path) -> None:
    browser_path()
    face = face_at(3).draw(WIDE[0]).resize(WIDE)
    face.save(tmp_path / "wide.png")
    original = np.asarray(face)
    with studio(hats, "--base", "mini") as (address, _), page_at(address) as (page, seen):
        page.set_input_files("#edit-picture input[type=file]", tmp_path / "wide.png")
        wait_for_text(page, "#edit-note", "as it is")
        choose(page, "hat")
        wait_for_text(page, "#edit-note", "900 × 600")
        page.keyboard.press("Escape")
        for part in ("Mask", "Copy as command or Python"):
            page.get_by_role("button", name=part).click()
        page.wait_for_function("document.querySelector('#edit-mask canvas')?.width == 900")
        page.wait_for_timeout(500)  # nobody paints while the part is still opening

        before = sources(page)
        width = paint(page, (0.35, 0.2), (0.65, 0.2)) * WIDE[0]
        wait_for_text(page, "#edit-code", "mask.png")
        wait_for_another(page, before, "900 × 600")
        changed = change(original, downloaded(page, tmp_path / "masked.png"))
        # Within some pixels: a mouse stands on whole pixels of the page, and an edge is soft.
        outside = ~capsule((0.35, 0.2), (0.65, 0.2), width + 6)
        assert not changed[outside].any()
        assert changed[capsule((0.35, 0.2), (0.65, 0.2), width - 6)].mean() > 0.5

        before = sources(page)
        page.locator("#edit-mask button").click()
        wait_for_another(page, before, "900 × 600")
        assert "mask.png" not in page.locator("#edit-code").inner_text()
        changed = change(original, downloaded(page, tmp_path / "whole.png"))
        assert changed[outside].any()

        paint(page, (0.5, 0.5), (0.6, 0.5))
        wait_for_text(page, "#edit-code", "mask.png")
        page.click("#edit-example")  # nothing is painted on another picture
        wait_for_text(page, "#edit-note", "512 × 512")
        wait_for_text(page, "#edit-code", "pairedit edit face.png")
        assert "mask.png" not in page.locator("#edit-code").inner_text()
        assert not page.evaluate(
            "(c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v))"
            "(document.querySelector('#edit-mask canvas'))"
        )
        assert seen.errors == []


def change(original: np.ndarray, path: Path) -> np.ndarray:
    """Where a picture differs from its original, bool [H, W]."""
    return (np.asarray(Image.open(path).convert("RGB")) != original).any(axis=-1)


def capsule(start: tuple[float, float], end: tuple[float, float], width: float) -> np.ndarray:
    """A level stroke with round ends on the wide picture, bool [H, W]."""
    down, across = np.mgrid[: WIDE[1], : WIDE[0]] + 0.5
    nearest = across.clip(start[0] * WIDE[0], end[0] * WIDE[0])
    return np.hypot(across - nearest, down - start[1] * WIDE[1]) < width / 2
