"""Even strength: every picture gets the factor that takes it as far as the pairs go."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from pairedit_sdk import strength
from pairedit_sdk.bases import load_base
from pairedit_sdk.cache import PairLatents
from pairedit_sdk.config import TrainConfig
from pairedit_sdk.edit import Edit, EditStack
from pairedit_sdk.edit_info import EditorSettings, ShownChange
from pairedit_sdk.editing import changed_alone, edit_image, edit_latents, sweep_latents
from pairedit_sdk.errors import BaseModelError, EditError, UsageError
from pairedit_sdk.pictures.images import to_tensor
from pairedit_sdk.strength import LIMITS, factors, shown_change
from pairedit_sdk.training import train


class MeanColour:
    """An image encoder that sees the mean of red, green and blue, 0 … 1."""

    def embed(self, images):
        return torch.cat([to_tensor(image).add(1).div(2).mean(dim=(2, 3)) for image in images])


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    """Stands in for every encoder, so that what it sees is known."""
    monkeypatch.setattr(strength, "_loaded", lambda name: MeanColour())


#: A base whose latents are the pictures themselves.
PIXELS = SimpleNamespace(name="pixels", decode=lambda z: z)
RED = ShownChange("pixels", [1.0, 0.0, 0.0], 0.2)


def _grey(*reds: float) -> torch.Tensor:
    """Grey pictures [B, 3, 4, 4] whose red channel is brighter by so much of 0 … 1."""
    x = torch.zeros(len(reds), 3, 4, 4)
    x[:, 0] += 2 * torch.tensor(reds).view(-1, 1, 1)
    return x


def test_what_the_pairs_show_is_their_mean_direction_and_how_far_it_goes():
    pairs = [PairLatents("1", _grey(0), _grey(0.3)), PairLatents("2", _grey(0.1), _grey(0.2))]
    shown = shown_change(PIXELS, pairs)
    assert shown.direction == pytest.approx([1, 0, 0])
    assert shown.size == pytest.approx(0.2, abs=0.005)  # of (0.3 + 0.1) / 2, in 8 bits
    assert shown.encoder == strength.encoder_for("pixels")


def test_pairs_that_show_nothing_in_common():
    same = [PairLatents("1", _grey(0.1), _grey(0.1))]
    assert shown_change(PIXELS, same) is None


@pytest.mark.parametrize(
    ("moved", "wanted"),
    [
        (0.2, 1.0),  # as far as the pairs
        (0.4, 0.5),  # twice as far
        (0.49, 0.2 / 0.49),
        (0.1, LIMITS[1]),  # half as far
        (0.0, LIMITS[1]),
        (-0.1, LIMITS[1]),
    ],
)
def test_the_factor_of_a_picture(moved, wanted):
    found = factors(PIXELS, RED, _grey(0), _grey(moved))
    assert float(found[0]) == pytest.approx(wanted, abs=0.03)


def test_every_picture_has_its_own_factor_within_limits():
    strong = replace(RED, size=0.1)
    found = factors(PIXELS, strong, _grey(0, 0, 0), _grey(0.45, 0.1, 0.01))
    assert found.tolist() == pytest.approx([LIMITS[0], 1.0, LIMITS[1]], abs=0.05)


def test_what_a_file_calls_its_encoder_is_never_loaded(monkeypatch):
    asked = []
    monkeypatch.setattr(strength, "_loaded", lambda name: asked.append(name) or MeanColour())
    factors(PIXELS, replace(RED, encoder="/somebody/else"), _grey(0), _grey(0.2))
    assert set(asked) == {strength.encoder_for("pixels")}


def test_an_encoder_that_is_not_there_says_how_to_do_without(monkeypatch):
    def missing(name):
        raise BaseModelError("not there")

    monkeypatch.setattr(strength, "_loaded", missing)
    with pytest.raises(BaseModelError, match=r"cannot be loaded.*--no-even"):
        factors(PIXELS, RED, _grey(0), _grey(0.2))


def test_an_encoder_of_another_width_is_refused():
    with pytest.raises(EditError, match=r"not the one.*Expected embeddings of 2 numbers\. Got 3"):
        factors(PIXELS, replace(RED, direction=[1.0, 0.0]), _grey(0), _grey(0))


# With a real model


@pytest.fixture(scope="module")
def trained(tiny_folder, face_pairs):
    base = load_base(str(tiny_folder), device="cpu")
    config = TrainConfig(steps=8, rank=4, sigma_count=8, lr=2e-2, edit_steps=4, edit_n_avg=2)
    return base, train(base, face_pairs({"hat": "beanie"}, 2), config, name="hat")


@pytest.fixture
def even(trained, x):
    """The edit with an even strength; its pairs are said to show what it does to the first of x."""
    base, edit = trained
    probe = edit_latents(base, x, edit, n_avg=1)
    before, after = (strength._seen(base, MeanColour(), z)[0] for z in (x, probe))
    change = after - before
    size = float(change.norm())
    shown = ShownChange("any", (change / size).tolist(), size)
    return edit.with_info(shown=shown, editor=replace(edit.info.editor, even=True))


@pytest.fixture(scope="module")
def x(trained):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, *trained[0].latent_shape(64, 64), generator=generator)


def _factors(base, edit, x, seed=0):
    probe = edit_latents(base, x, edit, n_avg=1, even=False, seed=seed)
    return factors(base, edit.info.shown, x, probe)


def test_pictures_are_edited_at_their_own_factors(trained, even, x):
    base, plain = trained
    found = _factors(base, even, x)
    assert len(set(found.tolist())) > 1  # they do differ
    result = edit_latents(base, x, even @ 0.8)
    each = [edit_latents(base, x, plain @ (0.8 * float(f))) for f in found]
    for k, alone in enumerate(each):
        assert torch.allclose(result[k], alone[k], atol=1e-4)


def test_a_sweep_scales_the_factors_and_starts_at_the_picture(trained, even, x):
    base = trained[0]
    zero, half, whole = sweep_latents(base, x, even, [0.0, 0.5, 1.0])
    assert torch.equal(zero, x)
    for scale, found in ((0.5, half), (1.0, whole)):
        assert torch.allclose(found, edit_latents(base, x, even @ scale), atol=1e-4)


def test_without_it_an_edit_is_as_it_was(trained, even, x):
    base, plain = trained
    assert torch.equal(edit_latents(base, x, even, even=False), edit_latents(base, x, plain))
    assert torch.equal(changed_alone(base, x, [even]), changed_alone(base, x, [plain]))


def test_edits_together_have_factors_of_their_own(trained, even, x):
    base, plain = trained
    other = plain.with_info(name="other")
    together = edit_latents(base, x, even + other @ 0.5)
    alone = edit_latents(base, x, even) + edit_latents(base, x, other @ 0.5) - x
    assert torch.allclose(together, alone, atol=1e-3)
    after = edit_latents(base, x, even + other @ 0.5, mode="sequential")
    assert torch.allclose(
        after, edit_latents(base, edit_latents(base, x, even), other @ 0.5), atol=1e-4
    )


def test_progress_goes_up_to_its_total(trained, even, x):
    seen = []
    edit_latents(trained[0], x, even, on_step=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1][0] == seen[-1][1]


def test_one_lora_of_several_edits_cannot_be_even(trained, even, x):
    base, plain = trained
    merged = edit_latents(base, x, even + even.with_info(name="b"), mode="merged")
    assert torch.allclose(
        merged, edit_latents(base, x, plain + plain.with_info(name="b"), mode="merged"), atol=1e-5
    )
    assert not (even + even).merged("both").info.editor.even
    with pytest.raises(UsageError, match=r"merged into one LoRA.*--mode guided"):
        edit_latents(base, x, even + even.with_info(name="b"), mode="merged", even=True)


def test_an_edit_that_does_not_know_is_refused_only_if_asked(trained, x):
    base, plain = trained
    with pytest.raises(UsageError, match=r"'hat' does not know.*edit_even=true"):
        edit_latents(base, x, plain, even=True)
    unknowing = plain.with_info(editor=replace(plain.info.editor, even=True))
    assert torch.equal(edit_latents(base, x, unknowing), edit_latents(base, x, plain))
    with pytest.raises(UsageError, match="Only FlowEdit has even"):
        edit_latents(base, x, plain, method="rf-inversion", even=False)


def test_a_sum_is_even_where_a_part_is(trained, even):
    plain = trained[1]
    assert EditStack([(plain, 1.0), (even, 0.5)]).editor.even
    assert not EditStack([(plain, 1.0), (even, 0.0)]).editor.even


def test_training_finds_what_the_pairs_show_and_the_file_keeps_it(trained, face_pairs, tmp_path):
    base, _ = trained
    config = TrainConfig(steps=1, rank=2, sigma_count=8, edit_even=True)
    edit = train(base, face_pairs({"hat": "beanie"}, 2), config, name="hat")
    assert edit.info.editor.even
    again = Edit.load(edit.save(tmp_path / "hat.safetensors"))
    assert again.info.shown == edit.info.shown
    assert len(again.info.shown.direction) == 3
    assert again.info.shown.size > 0


def test_training_asks_for_the_encoder_before_anything_is_computed(
    trained, face_pairs, tmp_path, monkeypatch
):
    def missing(name):
        raise BaseModelError(f"no encoder {name}")

    monkeypatch.setattr(strength, "_loaded", missing)
    config = TrainConfig(steps=1, rank=2, edit_even=True)
    with pytest.raises(BaseModelError, match=r"cannot be loaded.*edit_even=false"):
        train(
            trained[0], face_pairs({"hat": "beanie"}, 1), config, name="e", run_dir=tmp_path / "r"
        )
    assert not (tmp_path / "r").exists()


def test_a_picture_comes_out_at_its_size(trained, even, face_pairs):
    picture = face_pairs({"glasses": "round"}, 1, seed=9)[0].before.resize((96, 64))
    result = edit_image(trained[0], picture, even, even=True)
    assert result.size == (96, 64)
    assert even.info.editor == EditorSettings(4, 2, 0.0, even=True)
