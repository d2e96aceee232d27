"""The parts of the built-in model and the pipeline they make."""

import random

import pytest
import torch
from diffusers import FluxPipeline

from pairedit_sdk.builtin.build import parts
from pairedit_sdk.builtin.build.assemble import image_tower, text_tower
from pairedit_sdk.builtin.build.classifier import (
    HIDDEN,
    attribute_loss,
    labels_of,
    loss_at_once,
    probe_loss,
)
from pairedit_sdk.builtin.build.flow import CaptionedFlow
from pairedit_sdk.builtin.build.flow_data import FlowData, even_weights
from pairedit_sdk.builtin.build.parts import TEXT_LENGTH, tokenizer, tokens, vocabulary
from pairedit_sdk.builtin.faces.attribute_classifier import VALUES
from pairedit_sdk.builtin.faces.captions import caption
from pairedit_sdk.builtin.faces.numbered import face_at
from pairedit_sdk.models.tokens import pack, position_ids


def test_the_autoencoder_has_flux_latent_geometry():
    vae = parts.autoencoder().eval()
    with torch.no_grad():
        latents = vae.encode(torch.zeros(1, 3, 128, 128)).latent_dist.mode()
        assert latents.shape == (1, 16, 16, 16)
        assert vae.decode(latents).sample.shape == (1, 3, 128, 128)


def test_every_caption_is_known_and_fits():
    clip, t5 = tokenizer(begin=True), tokenizer(begin=False)
    rng = random.Random(0)
    for index in range(200):
        text = caption(face_at(index, "test"), rng, parts.CAPTION_PHRASES)
        for tok in (clip, t5):
            ids = tok(text).input_ids
            assert tok.unk_token_id not in ids, text
            assert len(ids) <= TEXT_LENGTH, text


def test_the_vocabulary_is_the_same_every_time_and_says_unknown_words_are_so():
    assert vocabulary() == vocabulary()
    tok = tokenizer(begin=False)
    assert tok("a person with xylophones").input_ids[3] == tok.unk_token_id
    assert tok("Red hair, round glasses.").input_ids[0] == tok("red").input_ids[0]


def test_tokens_are_padded_and_end_marked():
    ids = tokens(["a person", ""], tokenizer(begin=True), 8)
    assert ids.shape == (2, 8)
    assert ids[1].tolist() == [2, 3, 0, 0, 0, 0, 0, 0]


def test_the_towers_compute_what_clip_computes():
    torch.manual_seed(0)
    clip = parts.clip().eval()
    ids = tokens(["a person with red hair"], tokenizer(begin=True), TEXT_LENGTH)
    images = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        whole = clip(input_ids=ids, pixel_values=images)
        pooled = text_tower(clip)(ids).pooler_output
        own = clip.text_model(input_ids=ids).pooler_output
        embeds = image_tower(clip)(images).image_embeds
    assert torch.allclose(pooled, own, atol=1e-5)
    whole_embeds = embeds / embeds.norm(dim=-1, keepdim=True)
    assert torch.allclose(whole_embeds, whole.image_embeds, atol=1e-5)


def test_the_folder_is_an_ordinary_pipeline_with_an_image_encoder(tiny_folder):
    pipe = FluxPipeline.from_pretrained(tiny_folder, dtype=torch.float32)
    assert type(pipe.image_encoder).__name__ == "CLIPVisionModelWithProjection"
    assert pipe.transformer.config.guidance_embeds
    assert pipe.vae.config.scaling_factor == 0.7


def test_a_batch_of_the_flow_model_is_drawn_from_its_step_and_the_seed():
    faces = [face_at(i) for i in range(8)]
    latents = torch.randn(8, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    data = FlowData(latents, faces, text_tower(parts.clip()), batch=8, device="cpu")
    batches = []
    for _ in range(2):
        torch.manual_seed(3)
        batches.append(data.draw(3))
    one, two = batches
    assert torch.equal(one.x, two.x)
    assert torch.equal(one.ids, two.ids)
    assert one.x.shape == one.target.shape == (8, 64, 64)
    assert one.ids.shape == (8, TEXT_LENGTH)
    assert ((one.sigma >= 0) & (one.sigma <= 1)).all()
    # x_σ − σ v = x_0, one of the latents that are there
    clean = one.x - one.sigma[:, None, None] * one.target
    assert (
        (clean[:, None] - pack(latents)[None]).abs().amax(dim=(2, 3)).min(dim=1)[0] < 1e-4
    ).all()
    long = data.draw(39)
    assert long.ids.shape[1] > TEXT_LENGTH
    model = CaptionedFlow(parts.transformer(64, 1, 1), parts.t5())
    v = model(one.x, one.sigma, one.ids, one.pooled, one.guidance, position_ids(8, 8))
    assert v.shape == one.x.shape
    # The labels are those of the faces; the text is asked only for what the caption names.
    assert one.labels.shape == one.named.shape == (8, len(VALUES))
    told = one.named != HIDDEN
    assert torch.equal(one.named[told], one.labels[told])
    assert 0 < told.sum() < (one.labels != HIDDEN).sum()
    assert data.weights.shape == (64, 64)
    same, image, text = model.probed(
        one.x, one.sigma, one.ids, one.pooled, one.guidance, position_ids(8, 8)
    )
    assert torch.equal(same, v)
    for logits, labels in ((image, one.labels), (text, one.named)):
        probe_loss(logits, labels).backward(retain_graph=True)
    assert model.text_probe.weight.grad is not None
    assert model.transformer.transformer_blocks[0].attn.to_q.weight.grad is not None


# Autocast on a GPU has float32 for the norms, on a CPU not.
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning")
def test_the_timestep_is_not_rounded_where_the_products_are():
    model = CaptionedFlow(parts.transformer(64, 1, 1), parts.t5()).eval()
    ids = tokens(["a person"], tokenizer(begin=False), TEXT_LENGTH)
    given = (ids, torch.zeros(1, 128), torch.ones(1), position_ids(8, 8))
    x, sigmas = torch.ones(1, 64, 64), torch.tensor([[0.7501], [0.7509]])
    assert torch.equal(*sigmas.bfloat16())
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        one, other = (model(x, sigma, *given) for sigma in sigmas)
    assert not torch.equal(one, other)


def test_the_losses_of_all_attributes_at_once_are_those_of_each():
    faces = [face_at(i) for i in range(16)]
    labels = labels_of(faces)
    labels[:, 3] = HIDDEN  # an attribute that nobody shows
    sizes = [len(values) for values in VALUES.values()]
    logits = torch.randn(16, sum(sizes), generator=torch.Generator().manual_seed(0))
    results = []
    for at_once in (False, True):
        own = logits.clone().requires_grad_()
        named = dict(zip(VALUES, own.split(sizes, dim=1), strict=True))
        loss = loss_at_once(own, labels) if at_once else attribute_loss(named, labels)
        loss.backward()
        results.append((loss.detach(), own.grad))
    torch.testing.assert_close(*results)
    assert results[0][1].abs().sum() > 0


def test_every_attribute_has_its_part_of_the_error():
    torch.manual_seed(0)
    labels = torch.stack([torch.arange(64) % 2, torch.arange(64) // 32], dim=1)
    packed = torch.zeros(64, 4, 2)
    packed[:, 0, 0] = labels[:, 0] * 0.1  # the first attribute is seen in one element, faintly,
    packed[:, 1:] = labels[:, 1, None, None] * 3.0  # the second in six of eight, strongly
    weights = even_weights(packed, labels, share=0.5)
    assert torch.isclose(weights.mean(), torch.tensor(1.0))
    assert torch.isclose(weights[0, 0], torch.tensor(0.5 + 0.5 * 8 / 2))
    assert torch.allclose(weights[1:], torch.tensor(0.5 + 0.5 * (8 / 6) / 2))
    assert weights[0, 1] == 0.5  # nothing is seen there
    hidden = torch.full((64, 1), HIDDEN)
    assert torch.equal(even_weights(packed, hidden), torch.ones(4, 2))
