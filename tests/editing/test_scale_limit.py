"""Scale limit: no picture is taken further than the pairs go."""

from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import pytest
import torch

from pairedit_sdk.editing import composition, scale_limit
from pairedit_sdk.editing.edit_image import edit_image
from pairedit_sdk.editing.edit_latents import changed_alone, edit_latents, sweep_latents
from pairedit_sdk.editing.flowedit import flowedit
from pairedit_sdk.editing.scale_limit import LOWEST, scale_limits, shown_change
from pairedit_sdk.edits.edit import Edit, EditStack
from pairedit_sdk.edits.metadata import EditDirection, EditorSettings
from pairedit_sdk.errors import BaseModelError, EditError, UsageError
from pairedit_sdk.flow.schedule import noise_source
from pairedit_sdk.images.image import to_tensor
from pairedit_sdk.lora.adapters import attached, set_scales
from pairedit_sdk.models.loading import load_base
from pairedit_sdk.pairs.latents import PairLatents
from pairedit_sdk.training.config import TrainConfig
from pairedit_sdk.training.trainer import train


class MeanColour:
    """An image encoder that sees the mean of red, green and blue, 0 … 1."""

    def embed(self, images):
        return torch.cat([to_tensor(image).add(1).div(2).mean(dim=(2, 3)) for image in images])


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    """Stands in for every encoder, so that what it sees is known."""
    monkeypatch.setattr(scale_limit, "_loaded", lambda name: MeanColour())


#: A model whose latents are the pictures themselves.
PIXELS = SimpleNamespace(name="pixels", decode=lambda z: z)
RED = EditDirection([1.0, 0.0, 0.0], 0.2, "pixels")


def _grey(*reds: float) -> torch.Tensor:
    """Grey pictures [B, 3, 4, 4] whose red channel is brighter by so much of 0 … 1."""
    x = torch.zeros(len(reds), 3, 4, 4)
    x[:, 0] += 2 * torch.tensor(reds).view(-1, 1, 1)
    return x


def test_what_the_pairs_show_is_their_mean_direction_and_how_far_it_goes():
    pairs = [PairLatents("1", _grey(0), _grey(0.3)), PairLatents("2", _grey(0.1), _grey(0.2))]
    shown = shown_change(PIXELS, pairs)
    assert shown.direction == pytest.approx([1, 0, 0])
    assert shown.magnitude == pytest.approx(0.2, abs=0.005)  # of (0.3 + 0.1) / 2, in 8 bits
    assert shown.encoder == scale_limit.encoder_for("pixels")


def test_pairs_that_show_nothing_in_common():
    assert shown_change(PIXELS, [PairLatents("1", _grey(0.1), _grey(0.1))]) is None


@pytest.mark.parametrize(
    ("moved", "wanted"),
    [
        (0.2, 1.0),  # as far as the pairs
        (0.4, 0.5),  # twice as far
        (0.49, 0.2 / 0.49),
        (0.1, 1.0),  # half as far
        (0.0, 1.0),
        (-0.1, 1.0),
    ],
)
def test_the_limit_of_a_picture(moved, wanted):
    (found,) = scale_limits(PIXELS, [RED], _grey(0), _grey(moved)[None])
    assert float(found[0]) == pytest.approx(wanted, abs=0.03)


def test_backwards_as_much_is_taken_away_as_the_pairs_show():
    back = replace(RED, magnitude=-RED.magnitude)
    found = scale_limits(PIXELS, [back, RED], _grey(0), torch.stack([_grey(-0.4), _grey(-0.4)]))
    assert [float(each[0]) for each in found] == pytest.approx([0.5, 1.0], abs=0.03)


def test_every_picture_has_a_limit_of_its_own():
    strong = replace(RED, magnitude=0.1)
    (found,) = scale_limits(PIXELS, [strong], _grey(0, 0, 0), _grey(0.45, 0.2, 0.01)[None])
    assert found.tolist() == pytest.approx([LOWEST, 0.5, 1.0], abs=0.05)


def test_what_a_file_calls_its_encoder_is_never_loaded(monkeypatch):
    asked = []
    monkeypatch.setattr(scale_limit, "_loaded", lambda name: asked.append(name) or MeanColour())
    scale_limits(PIXELS, [replace(RED, encoder="/somebody/else")], _grey(0), _grey(0.2)[None])
    assert set(asked) == {scale_limit.encoder_for("pixels")}


def test_an_encoder_that_is_not_there_says_how_to_do_without(monkeypatch):
    def missing(name):
        raise BaseModelError("not there")

    monkeypatch.setattr(scale_limit, "_loaded", missing)
    with pytest.raises(BaseModelError, match=r"cannot be loaded.*--no-limit-scale"):
        scale_limits(PIXELS, [RED], _grey(0), _grey(0.2)[None])


def test_an_encoder_of_another_width_is_refused():
    with pytest.raises(EditError, match=r"not the one.*Expected embeddings of 2 numbers\. Got 3"):
        scale_limits(PIXELS, [replace(RED, direction=[1.0, 0.0])], _grey(0), _grey(0)[None])


@pytest.fixture(scope="module")
def trained(tiny_folder, face_pairs):
    base = load_base(str(tiny_folder), device="cpu")
    config = TrainConfig(steps=8, rank=4, sigma_count=8, lr=2e-2, edit_steps=5, edit_n_avg=2)
    return base, train(base, face_pairs({"hat": "beanie"}, 2), config, name="hat")


@pytest.fixture
def limited(trained, x):
    """The edit with a scale limit; its pairs are said to show half of what it does to the
    first of x."""
    base, edit = trained
    probe = edit_latents(base, x, edit)
    before, after = (scale_limit._seen(base, MeanColour(), z)[0] for z in (x, probe))
    change = after - before
    length = float(change.norm())
    direction = EditDirection((change / length).tolist(), length / 2, "any")
    return edit.with_info(direction=direction, editor=replace(edit.info.editor, limit_scale=True))


@pytest.fixture(scope="module")
def x(trained):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, *trained[0].latent_shape(64, 64), generator=generator)


def _velocities(base, edit, scale):
    """The edited model at a scale for each of the pictures, and the plain one, by hand."""

    def velocities(z_tar, z_src, sigma):
        noises = len(z_tar) // len(scale)
        own = torch.cat([scale.repeat_interleave(noises), torch.zeros(len(z_src))])
        with attached(base.transformer, {"own": edit.layers}), torch.no_grad():
            set_scales(base.transformer, {"own": own})
            rows = torch.cat([z_tar, z_src])
            v = base.velocity(rows, sigma, base.condition(""), edit.info.guidance)
        return v[: len(z_tar)], v[len(z_tar) :]

    return velocities


def _by_hand(base, edit, x, scale):
    """Both halves of the steps, and the limits that were found in between; 5 steps, the last 4."""
    sigmas, noise = base.sigmas(5, *base.image_size(x)), noise_source(x, 0)
    sign = 1.0 if scale > 0 else -1.0
    velocities = _velocities(base, edit, torch.full((len(x),), sign))
    near, z = islice(flowedit(x, sigmas, velocities, noise, n_max=4, n_avg=2), 2)
    whole = z + (z - near) * sigmas[3] / (sigmas[2] - sigmas[3])
    shown = replace(edit.info.direction, magnitude=sign * edit.info.direction.magnitude)
    (found,) = scale_limits(base, [shown], x, whole[None])
    z = x + (found * abs(scale)).view(-1, 1, 1, 1) * (z - x)
    velocities = _velocities(base, edit, found * scale)
    *_, end = flowedit(x, sigmas, velocities, noise, n_max=2, n_avg=2, z=z)
    return end, found


@pytest.mark.parametrize("scale", [1.0, 0.8, -0.5])
def test_the_second_half_goes_on_at_the_limits_that_the_first_half_shows(
    trained, limited, x, scale
):
    base, plain = trained
    wanted, found = _by_hand(base, limited, x, scale)
    if scale > 0:
        assert len(set(found.tolist())) > 1  # they do differ
    result = edit_latents(base, x, limited @ scale)
    assert torch.allclose(result, wanted, atol=1e-4)
    assert not torch.allclose(result, edit_latents(base, x, plain @ scale), atol=1e-2)


def test_where_the_pairs_are_matched_the_edit_is_as_without_it(trained, limited, x, monkeypatch):
    monkeypatch.setattr(scale_limit, "LOWEST", 1.0)
    base, plain = trained
    assert torch.allclose(edit_latents(base, x, limited), edit_latents(base, x, plain), atol=1e-4)


@pytest.mark.parametrize("tokens", [8192, 1])  # all scales in one pass, and one by one
def test_a_sweep_shares_the_first_half_and_starts_at_the_picture(
    trained, limited, x, tokens, monkeypatch
):
    monkeypatch.setattr(composition, "TOKENS", tokens)
    base = trained[0]
    scales = [0.5, 1.0, -1.0]
    zero, *found = sweep_latents(base, x, limited, [0.0, *scales])
    assert torch.equal(zero, x)
    for scale, z in zip(scales, found, strict=True):
        assert torch.allclose(z, edit_latents(base, x, limited @ scale), atol=1e-4)


def test_a_single_step_is_all_of_it(trained, limited, x):
    base = trained[0]
    once = edit_latents(base, x, limited, steps=1, limit_scale=False)
    (found,) = scale_limits(base, [limited.info.direction], x, once[None])
    wanted = x + found.view(-1, 1, 1, 1) * (once - x)
    assert torch.allclose(edit_latents(base, x, limited, steps=1), wanted, atol=1e-4)


def test_without_it_an_edit_is_as_it_was(trained, limited, x):
    base, plain = trained
    assert torch.equal(
        edit_latents(base, x, limited, limit_scale=False), edit_latents(base, x, plain)
    )
    assert torch.equal(changed_alone(base, x, [limited]), changed_alone(base, x, [plain]))


def test_edits_together_have_limits_of_their_own(trained, limited, x):
    base, plain = trained
    other = plain.with_info(name="other")
    together = edit_latents(base, x, limited + other @ 0.5)
    alone = edit_latents(base, x, limited) + edit_latents(base, x, other @ 0.5) - x
    assert torch.allclose(together, alone, atol=1e-3)
    after = edit_latents(base, x, limited + other @ 0.5, mode="sequential")
    assert torch.allclose(
        after, edit_latents(base, edit_latents(base, x, limited), other @ 0.5), atol=1e-4
    )


@pytest.mark.parametrize("tokens", [8192, 1])
def test_progress_goes_up_to_its_total(trained, limited, x, tokens, monkeypatch):
    monkeypatch.setattr(composition, "TOKENS", tokens)
    seen = []
    sweep_latents(
        trained[0], x, limited, [0.5, 1.0], on_step=lambda done, total: seen.append((done, total))
    )
    total = 4 if tokens > 1 else 2 + 2 * 2
    assert seen == [(k + 1, total) for k in range(total)]


def test_one_lora_of_several_edits_has_no_limit(trained, limited, x):
    base, plain = trained
    merged = edit_latents(base, x, limited + limited.with_info(name="b"), mode="merged")
    assert torch.allclose(
        merged, edit_latents(base, x, plain + plain.with_info(name="b"), mode="merged"), atol=1e-5
    )
    assert not (limited + limited).merged("both").info.editor.limit_scale
    with pytest.raises(UsageError, match=r"merged into one LoRA.*--mode guided"):
        edit_latents(
            base, x, limited + limited.with_info(name="b"), mode="merged", limit_scale=True
        )


def test_an_edit_that_does_not_know_is_refused_only_if_asked(trained, x):
    base, plain = trained
    with pytest.raises(UsageError, match=r"'hat' does not know.*limit_scale=true"):
        edit_latents(base, x, plain, limit_scale=True)
    unknowing = plain.with_info(editor=replace(plain.info.editor, limit_scale=True))
    assert torch.equal(edit_latents(base, x, unknowing), edit_latents(base, x, plain))
    with pytest.raises(UsageError, match="Only FlowEdit has limit_scale"):
        edit_latents(base, x, plain, method="rf-inversion", limit_scale=False)


def test_a_sum_asks_for_a_limit_where_a_part_does(trained, limited):
    plain = trained[1]
    assert EditStack([(plain, 1.0), (limited, 0.5)]).editor.limit_scale
    assert not EditStack([(plain, 1.0), (limited, 0.0)]).editor.limit_scale


def test_training_finds_what_the_pairs_show_and_the_file_keeps_it(trained, face_pairs, tmp_path):
    base, _ = trained
    config = TrainConfig(steps=1, rank=2, sigma_count=8, edit_even=True)
    edit = train(base, face_pairs({"hat": "beanie"}, 2), config, name="hat")
    assert edit.info.editor.limit_scale
    again = Edit.load(edit.save(tmp_path / "hat.safetensors"))
    assert again.info.direction == edit.info.direction
    assert len(again.info.direction.direction) == 3
    assert again.info.direction.magnitude > 0


def test_training_asks_for_the_encoder_before_anything_is_computed(
    trained, face_pairs, tmp_path, monkeypatch
):
    def missing(name):
        raise BaseModelError(f"no encoder {name}")

    monkeypatch.setattr(scale_limit, "_loaded", missing)
    config = TrainConfig(steps=1, rank=2, edit_even=True)
    with pytest.raises(BaseModelError, match=r"cannot be loaded.*limit_scale=false"):
        train(
            trained[0], face_pairs({"hat": "beanie"}, 1), config, name="e", run_dir=tmp_path / "r"
        )
    assert not (tmp_path / "r").exists()


def test_a_picture_comes_out_at_its_size(trained, limited, face_pairs):
    picture = face_pairs({"glasses": "round"}, 1, seed=9)[0].before.resize((96, 64))
    result = edit_image(trained[0], picture, limited, limit_scale=True)
    assert result.size == (96, 64)
    assert limited.info.editor == EditorSettings(5, 2, 0.0, limit_scale=True)
