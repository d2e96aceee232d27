"""The page in a real browser: the short way from a picture to an edited one, and back after a
reload. The whole story is in test_story.py."""

from __future__ import annotations

from pathlib import Path

from pairedit_sdk.images.image import read_image
from pairedit_sdk.images.metadata import read_made
from tests.studio.browsing import browser_path, move_slider, page_at, studio, wait_for_text


def test_a_picture_is_edited_with_a_slider_and_survives_a_reload(
    hats: Path, tmp_path: Path
) -> None:
    browser_path()
    with studio(hats, "--base", "mini") as (address, _), page_at(address) as (page, seen):
        page.click("#edit-example")
        wait_for_text(page, "#edit-note", "as it is")
        page.click("#edit-names input")
        page.get_by_role("option", name="hat").click()
        wait_for_text(page, "#edit-note", "512 × 512")
        before = page.locator("#edit-view img").last.get_attribute("src")
        move_slider(page, "hat", 0.4)
        page.wait_for_function(
            "src => [...document.querySelectorAll('#edit-view img')].every(i => i.src != src)"
            " && document.querySelector('#edit-note').innerText.includes('512 × 512')",
            arg=before,
        )
        with page.expect_download() as waiting:
            page.click("#edit-download")
        waiting.value.save_as(tmp_path / "got.png")
        assert waiting.value.suggested_filename == "face-hat.png"
        made = read_made(tmp_path / "got.png")
        assert made is not None
        assert made["edits"] == [{"name": "hat", "scale": 0.4}]
        assert read_image(tmp_path / "got.png").size == (512, 512)
        page.wait_for_url(lambda url: "edits=hat%3A0.4" in url)
        page.reload()
        wait_for_text(page, "#edit-note", "512 × 512")
        assert page.locator(".pe-scale input[type=number]").input_value() == "0.4"
        assert seen.errors == []
        assert seen.foreign == []
