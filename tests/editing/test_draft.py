"""Drafts for sliders: they equal the full edit, and a move costs what it must."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pairedit_sdk.builtin.faces.example_pairs import example_faces
from pairedit_sdk.editing import draft, scale_limit
from pairedit_sdk.editing.draft import DraftEditor
from pairedit_sdk.editing.edit_image import edit_image
from pairedit_sdk.editing.edit_latents import sweep_latents
from pairedit_sdk.editing.kept import Kept, TensorStore
from pairedit_sdk.editing.options import EditOptions
from pairedit_sdk.edits.edit import Edit, EditDirection, EditInfo, EditorSettings
from pairedit_sdk.edits.edit_words import EditWords
from pairedit_sdk.edits.instruction import Instruction
from pairedit_sdk.errors import EditError, UsageError
from pairedit_sdk.images.image import to_tensor
from pairedit_sdk.images.photo import Photo
from pairedit_sdk.lora.adapters import is_bare
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.loading import load_model

STEPS, LAST, NOISES = 4, 3, 2
GLASSES = "add round glasses"


@pytest.fixture(scope="module")
def model(tiny_kontext_folder):
    return load_model(str(tiny_kontext_folder), device="cpu")


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return [before.draw(64) for before, _ in example_faces("glasses", 2)]


def _edit(model, seed=0, *, words: Sequence[EditWords] = (), sees=True, limited=False) -> Edit:
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for layer in model.lora_targets("attention"):
        high, wide = model.transformer.get_submodule(layer).weight.shape
        down = torch.randn(2, wide, generator=generator) * 0.5
        layers[layer] = LoraLayer(down, torch.randn(high, 2, generator=generator) * 0.5)
    settings = EditorSettings(STEPS, NOISES, 0.1, limited, sees)
    info = EditInfo(
        f"e{seed}",
        base=model.name,
        base_fingerprint=model.fingerprint,
        guidance=2.0,
        resolution=64,
        editor=settings,
        direction=EditDirection([1.0, 0.0, 0.0], 0.001, "mean") if limited else None,
        words=list(words),
    )
    return Edit(layers, info)


@pytest.fixture
def rows(model, monkeypatch) -> list[int]:
    """Rows of every forward pass."""
    found: list[int] = []
    velocity = type(model).velocity

    def counted(self, states, *rest):
        found.append(len(states))
        return velocity(self, states, *rest)

    monkeypatch.setattr(type(model), "velocity", counted)
    return found


def _taken(rows: list[int]) -> list[int]:
    taken = rows[:]
    rows.clear()
    return taken


def _off(found: Image.Image, wanted: Image.Image) -> int:
    """The largest difference in levels of 255."""
    pair = [np.asarray(picture.convert("RGB"), np.int16) for picture in (found, wanted)]
    return int(np.abs(pair[0] - pair[1]).max())


def _box_mask() -> Image.Image:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (8, 8, 48, 40))
    return mask


WAYS: dict[str, dict[str, Any]] = {
    "default": {},
    "one noise": {"n_avg": 1, "seed": 3},
    "few steps": {"n_max": 2, "threshold": 0.0},
    "no words": {"words": False},
    "merged": {"mode": "merged"},
    "sequential": {"mode": "sequential"},
    "other method": {"method": "rf-inversion", "steps": 3},
    "masked": {"mask": _box_mask()},
    "decoded": {"detail": "off"},
    "smaller": {"resolution": 32},
    "told": {"cfg": 2.0},
    "a part": {"region": (8, 8, 24, 20)},
}


@pytest.mark.parametrize("settings", WAYS.values(), ids=WAYS.keys())
def test_it_is_the_full_edit_of_the_same_picture(model, pictures, settings):
    told = _edit(model, 0, words=[EditWords("add a hat", 0.7, lora=0.5)])
    other = _edit(model, 1, sees=settings.get("method") is None)
    editor = DraftEditor(model, pictures[0], EditOptions(**settings))
    for scales in ((0.6, 0.3), (0.6, -0.5), (1, -0.5), (0.6, 0.3)):
        stack = told @ scales[0] + other @ scales[1]
        found, wanted = editor.edit(stack), edit_image(model, pictures[0], stack, **settings)
        assert found.size == (64, 64)
        assert _off(wanted, pictures[0]) > 8
        assert _off(found, wanted) <= 1


def test_edits_that_see_the_picture_and_others_are_kept_apart(model, pictures, rows):
    sees, blind = _edit(model, 0), _edit(model, 0, sees=False)
    editor = DraftEditor(model, pictures[0])
    editor.edit(sees @ 0.5 + blind @ 0.5)
    _taken(rows)
    stack = sees @ 0.5 + blind @ 0.8
    found = editor.edit(stack)
    assert _taken(rows) == [NOISES] * LAST
    assert _off(found, edit_image(model, pictures[0], stack)) <= 1


def test_at_zero_it_is_the_original(model, pictures, rows):
    editor, edit = DraftEditor(model, pictures[0]), _edit(model)
    for stack in (edit @ 0, edit @ 0.5 + edit @ -0.5, Instruction(GLASSES) @ 0):
        assert _off(editor.edit(stack), pictures[0]) == 0
    assert rows == []
    assert _off(editor.original, pictures[0]) == 0


def test_a_move_costs_the_passes_of_that_edit_alone(model, pictures, rows):
    one, other = _edit(model, 0), _edit(model, 1)
    words = Instruction(GLASSES, EditorSettings(STEPS, NOISES, 0.1))
    editor = DraftEditor(model, pictures[0])
    editor.edit(one @ 0.5 + other @ 0.4 + words @ 1)
    # Both edits with the plain model, then the instruction: its plain model is the same one.
    assert _taken(rows) == [3 * NOISES] * LAST + [NOISES] * LAST
    stack = one @ 0.9 + other @ 0.4 + words @ 1
    found = editor.edit(stack)
    assert _taken(rows) == [NOISES] * LAST
    assert _off(found, edit_image(model, pictures[0], stack)) <= 1
    _taken(rows)
    editor.edit(one @ 0.9 + other @ 0.4 + words @ 0.2)
    editor.edit(one @ 0.5 + words @ -1)
    assert _taken(rows) == []
    editor.edit(other @ 0.7, seed=1)  # another noise, so that the plain model runs too
    assert _taken(rows) == [2 * NOISES] * LAST
    editor.edit(one @ 0.5 + other @ 0.4, mode="merged")  # moved together, by the same plain model
    assert _taken(rows) == [NOISES] * LAST


def test_a_limited_edit_is_tried_once(model, pictures, rows, monkeypatch):
    class MeanColour:
        def embed(self, images):
            return torch.cat([to_tensor(image).add(1).div(2).mean(dim=(2, 3)) for image in images])

    monkeypatch.setattr(scale_limit, "_loaded", lambda name: MeanColour())
    limited, free = _edit(model, 0, limited=True), _edit(model, 1)
    editor = DraftEditor(model, pictures[0])
    editor.edit(limited @ 0.5 + free @ 1)
    assert _taken(rows) == [3 * NOISES] * LAST
    stack = limited @ 0.8 + free @ 1
    found = editor.edit(stack)
    assert _taken(rows) == [NOISES] * (LAST - LAST // 2)  # the first half is at scale 1
    wanted = edit_image(model, pictures[0], stack)
    assert _off(wanted, edit_image(model, pictures[0], stack, limit_scale=False)) > 1
    assert _off(found, wanted) <= 1
    back = limited @ -0.8
    assert _off(editor.edit(back), edit_image(model, pictures[0], back)) <= 1
    assert _off(
        editor.edit(stack, limit_scale=False),
        edit_image(model, pictures[0], stack, limit_scale=False),
    ) <= 1  # fmt: skip


def test_another_picture_or_edit_of_the_same_name_shares_nothing(model, pictures):
    edit = _edit(model)
    editors = [DraftEditor(model, picture) for picture in pictures]
    for picture, editor in zip(pictures, editors, strict=True):
        assert _off(editor.edit(edit @ 0.7), edit_image(model, picture, edit @ 0.7)) <= 1
    for seed in range(3):  # the last one's memory may be taken by the next
        other = _edit(model, seed).with_info(name="e0")
        found = editors[0].edit(other @ 0.7)
        assert _off(found, edit_image(model, pictures[0], other @ 0.7)) <= 1
        del other


def test_edits_seen_at_different_sizes_are_kept_apart(model, pictures):
    editor, edit = DraftEditor(model, pictures[0]), _edit(model)
    coarse = edit.with_info(resolution=32)
    for one in (edit, coarse, edit, coarse):
        assert _off(editor.edit(one @ 0.7), edit_image(model, pictures[0], one @ 0.7)) <= 1


@pytest.mark.parametrize("last", [1, 2, 4])
def test_a_hook_that_raises_ends_the_draft_and_nothing_else(model, pictures, last):
    stack = _edit(model, 0) @ 0.5 + _edit(model, 1, sees=False) @ 0.5 + Instruction(GLASSES) @ 1
    editor = DraftEditor(model, pictures[0])
    seen: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        seen.append((done, total))
        if len(seen) == last:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        editor.edit(stack, on_step=stop)
    assert is_bare(model.transformer)
    assert _off(editor.edit(stack), edit_image(model, pictures[0], stack)) <= 1


def test_progress_ends_with_the_total_and_is_silent_where_all_is_kept(model, pictures):
    editor, edit = DraftEditor(model, pictures[0]), _edit(model)
    seen: list[tuple[int, int]] = []
    editor.edit(edit @ 0.5, on_step=lambda *step: seen.append(step))
    assert seen == [(k + 1, LAST) for k in range(LAST)]
    editor.edit(edit @ 0.5, on_step=lambda *step: seen.append(step))
    assert len(seen) == LAST


def test_memory_is_bounded(model, pictures, monkeypatch):
    monkeypatch.setattr(draft, "MOST", 10_000)
    editor, edit = DraftEditor(model, pictures[0]), _edit(model)
    for k in range(5):
        found = editor.edit(edit @ (0.1 * (k + 1)))
        assert editor._kept.store.held <= 10_000
    assert _off(found, edit_image(model, pictures[0], edit @ (0.1 * 5))) <= 1


def test_a_large_photograph_comes_out_small_and_is_seen_whole(model, pictures):
    large = pictures[0].resize((300, 240), Image.Resampling.BICUBIC)
    editor, edit = DraftEditor(model, large, side=100), _edit(model)
    found = editor.edit(edit @ 0.8)
    assert found.size == editor.original.size == (100, 80)
    wanted = edit_image(model, large, edit @ 0.8).resize((100, 80), Image.Resampling.LANCZOS)
    close = [np.asarray(one, np.float32) for one in (found, wanted, editor.original)]
    assert np.abs(close[0] - close[1]).mean() < 0.2 * np.abs(close[1] - close[2]).mean()
    part = (60, 60, 90, 120)
    assert _off(editor.edit(edit @ 0.8, region=part), editor.original) > 8
    with pytest.raises(UsageError, match="lies outside the picture"):
        editor.edit(edit @ 0.8, region=(250, 0, 90, 120))


def test_grey_and_transparent_photographs(model, pictures):
    grey = pictures[0].convert("L")
    assert _off(DraftEditor(model, grey).edit(_edit(model) @ 0), grey) == 0
    clear = Image.new("RGBA", (64, 64), (10, 20, 30, 0))
    assert DraftEditor(model, clear).original.getpixel((5, 5)) == (255, 255, 255)
    deep = Photo.of(np.full((64, 64), 0x8080, np.uint16))
    assert DraftEditor(model, deep).original.getpixel((5, 5)) == (128, 128, 128)


def test_large_edits_are_seen_small_with_one_noise(model, pictures, rows, monkeypatch):
    monkeypatch.setattr(draft, "SEEN", 48)
    monkeypatch.setattr(draft, "QUICK", 32)
    editor, edit = DraftEditor(model, pictures[0]), _edit(model)
    found = editor.edit(edit @ 0.7)
    assert _taken(rows) == [2] * LAST
    wanted = edit_image(model, pictures[0], edit @ 0.7, resolution=48, n_avg=1)
    assert _off(found, wanted) <= 1
    _taken(rows)
    editor.edit(edit @ 0.7, n_avg=3)
    assert _taken(rows) == [2 * 3] * LAST
    editor.edit(edit.with_info(resolution=32) @ 0.7)  # never above what it was learned at
    assert _taken(rows) == [2 * NOISES] * LAST


def test_threads_take_turns(model, pictures):
    edits = [_edit(model, seed) for seed in range(3)]
    editor = DraftEditor(model, pictures[0])
    wanted = [edit_image(model, pictures[0], edit @ 0.6) for edit in edits]
    with ThreadPoolExecutor(4) as pool:
        jobs = [(k, pool.submit(editor.edit, edits[k] @ 0.6)) for k in (0, 1, 2, 0, 1, 2)]
        jobs += [(k, pool.submit(edit_image, model, pictures[0], edits[k] @ 0.6)) for k in (0, 1)]
        for k, job in jobs:
            assert _off(job.result(timeout=60), wanted[k]) <= 1
    assert is_bare(model.transformer)


def test_a_sweep_that_keeps_is_that_sweep(model):
    x = torch.randn(1, *model.latent_shape(64, 64), generator=torch.Generator().manual_seed(1))
    stack = _edit(model, 0) @ 1 + _edit(model, 1, sees=False) @ 0.5 + Instruction(GLASSES) @ 1
    kept = Kept(TensorStore(2**20))
    plainly = sweep_latents(model, x, stack, [0.5, 0, 1])
    for _ in range(2):
        found = sweep_latents(model, x, stack, [0.5, 0, 1], kept=kept)
        for one, other in zip(found, plainly, strict=True):
            assert torch.allclose(one, other, atol=1e-4)
        assert found[1] is x


def test_what_cannot_be_edited_is_refused(model, pictures):
    with pytest.raises(UsageError, match="is no model"):
        DraftEditor("mini", pictures[0])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is no picture"):
        DraftEditor(model, [pictures[0]])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="side"):
        DraftEditor(model, pictures[0], side=0)
    editor, edit = DraftEditor(model, pictures[0]), _edit(model)
    with pytest.raises(UsageError, match="These are no edits"):
        editor.edit([])
    with pytest.raises(TypeError):
        editor.edit(edit, sed=1)  # type: ignore[call-arg]
    foreign = Edit(edit.layers, replace(edit.info, base="other", base_fingerprint="0"))
    with pytest.raises(EditError):
        editor.edit(foreign)
