"""The tab for composing and analogies in a real browser: a mix is saved, an edit placed, an
analogy asked and taken over."""

from __future__ import annotations

from pathlib import Path

from pairedit_sdk.edits.library import EditLibrary
from pairedit_sdk.io.resources import examples_dir
from tests.studio.browsing import browser_path, page_at, shoot, studio, wait_for_text


def test_a_mix_is_saved_and_an_analogy_taken_over(hats: Path) -> None:
    browser_path()
    shown = "?tab=compose&edits=hat:0.5,cap:1"
    with (
        studio(hats, "--base", "mini") as (address, _),
        page_at(address + shown, width=390) as (page, seen),
    ):
        wait_for_text(page, "#compose-table", "hat")
        page.fill("#compose-rank input", "3")
        page.click("#compose-save")
        wait_for_text(page, "#compose-status", "Saved hat-cap, rank 3. Relative error")
        assert EditLibrary(hats).info("hat-cap").parts == [("hat", 0.5), ("cap", 1.0)]

        page.click("#basis-place-name input")
        # The new edit appears by itself, and moves the others.
        page.get_by_role("option", name="hat-cap", exact=True).wait_for()
        page.get_by_role("option", name="hat", exact=True).click()
        for side, folder in (("before", "source"), ("after", "target")):
            pictures = sorted((examples_dir() / "pairs" / "hat" / folder).iterdir())
            page.set_input_files(f"#basis-{side} input[type=file]", pictures)
            wait_for_text(page, f"#basis-{side}", "KB")
        page.click("#basis-place")
        wait_for_text(page, "#basis-status", "Placed hat with 3 pairs.")
        wait_for_text(page, "#basis-table", "mini")

        page.click("#analogy-example-hat")
        page.wait_for_selector("#analogy-b img")
        page.click("#analogy-ask")
        wait_for_text(page, "#analogy-sentence", "Found in the basis")
        page.wait_for_selector("#analogy-answer img")
        wide = page.evaluate("document.documentElement.scrollWidth")
        shoot(page, "compose-390")
        page.click("#analogy-take")
        page.wait_for_url(lambda url: "edits=hat%3A1" in url and "tab=" not in url)
        wait_for_text(page, "#edit-note", "256 × 256")
        assert wide == 390
        assert seen.errors == []
        assert seen.foreign == []
