"""Latents and prompts are computed once, and a change of anything misses the cache."""

import pytest
import torch

from pairedit_sdk.io.files import cache_folder, read_tensors, write_tensors
from pairedit_sdk.models.pipeline_model import PipelineModel
from pairedit_sdk.models.prompts import each_condition, prompt_condition, prompt_conditions
from pairedit_sdk.pairs.latents import encode_pairs


@pytest.fixture
def count_encodings(monkeypatch):
    calls = []
    original = PipelineModel.encode

    def counted(self, images):
        calls.append(images.shape)
        return original(self, images)

    monkeypatch.setattr(PipelineModel, "encode", counted)
    return calls


def test_latents_are_encoded_once(tiny_model, face_pairs, tmp_path, count_encodings):
    pairs = face_pairs({"hat": "cap"}, 2, size=64)
    first = encode_pairs(tiny_model, pairs, 64, tmp_path)
    assert len(count_encodings) == 4
    again = encode_pairs(tiny_model, pairs, 64, tmp_path)
    assert len(count_encodings) == 4
    for one, two in zip(first, again, strict=True):
        assert one.name == two.name
        assert torch.equal(one.x_a, two.x_a)
        assert torch.equal(one.x_b, two.x_b)
    encode_pairs(tiny_model, pairs, 96, tmp_path)
    assert len(count_encodings) == 8


def test_the_aspect_ratio_is_kept(tiny_model, face_pairs):
    from PIL import Image

    from pairedit_sdk.pairs.pair_set import PairSet

    image = Image.new("RGB", (320, 80))
    pairs = PairSet.from_images([(image, Image.new("RGB", (320, 80), "white"))])
    (latents,) = encode_pairs(tiny_model, pairs, 64)
    assert latents.x_a.shape == (1, 16, 4, 16)


def test_prompts_of_a_large_base_are_kept_on_disk(tiny_folder, monkeypatch):
    first = PipelineModel.load(str(tiny_folder), device="cpu")
    made = prompt_condition(first, "an old person")

    def refuse(self, prompt):
        raise AssertionError("the text encoders were loaded again")

    monkeypatch.setattr(PipelineModel, "encode_prompt", refuse)
    second = PipelineModel.load(str(tiny_folder), device="cpu")
    kept = prompt_condition(second, "an old person")
    assert torch.equal(kept.prompt_embeds, made.prompt_embeds)
    assert torch.equal(kept.extras["pooled"], made.extras["pooled"])
    with pytest.raises(AssertionError, match="loaded again"):
        prompt_condition(second, "a young person")


def test_the_encoders_are_let_go_once_for_several_new_prompts(tiny_folder, monkeypatch):
    model = PipelineModel.load(str(tiny_folder), device="cpu")
    old = prompt_condition(model, "add a scarf")
    done, encode, release = [], PipelineModel.encode_prompt, PipelineModel.release_text_encoders

    def counted(self, prompt):
        done.append(prompt)
        return encode(self, prompt)

    def released(self):
        done.append("released")
        release(self)

    monkeypatch.setattr(PipelineModel, "encode_prompt", counted)
    monkeypatch.setattr(PipelineModel, "release_text_encoders", released)
    fresh = PipelineModel.load(str(tiny_folder), device="cpu")
    phrases = ["add a bow", "add a scarf", "add a wig", "add a bow"]
    found = each_condition(fresh, phrases)
    assert done == ["add a bow", "add a wig", "released"]
    assert torch.equal(found[1].prompt_embeds, old.prompt_embeds)
    assert torch.equal(found[0].prompt_embeds, found[3].prompt_embeds)
    again = PipelineModel.load(str(tiny_folder), device="cpu")
    assert torch.equal(
        prompt_condition(again, "add a wig").extras["pooled"], found[2].extras["pooled"]
    )
    assert done[3:] == []


def test_many_prompts_stay_on_disk_and_the_encoders_are_let_go(tiny_folder, monkeypatch):
    base = PipelineModel.load(str(tiny_folder), device="cpu")
    alone = base.condition("add a hat")
    base.forget("add a hat")
    found = prompt_conditions(base, ["add a hat", "", "add a hat"])
    assert sorted(found) == ["", "add a hat"]
    assert not base.knows("add a hat")
    assert base._text.loaded is None
    assert torch.equal(found["add a hat"].prompt_embeds, alone.prompt_embeds)
    assert torch.equal(found["add a hat"].extras["pooled"], alone.extras["pooled"])

    def refuse(self, prompt):
        raise AssertionError("the text encoders were loaded again")

    monkeypatch.setattr(PipelineModel, "encode_prompt", refuse)
    assert len(prompt_conditions(base, ["add a hat", ""])) == 2


def test_bases_with_the_same_text_encoders_but_other_lengths_share_no_prompts(tiny_folder):
    dev, schnell = (PipelineModel.load(str(tiny_folder), device="cpu") for _ in range(2))
    schnell.family._most_tokens = lambda: 16
    short = prompt_condition(schnell, "an old person").prompt_embeds
    long = prompt_condition(dev, "an old person").prompt_embeds
    assert (short.shape[1], long.shape[1]) == (16, 32)


DAMAGES = {
    "another schema": lambda path, tensors: write_tensors(path, tensors, {"schema": "0"}),
    "no schema": lambda path, tensors: write_tensors(path, tensors),
    "other values": lambda path, tensors: write_tensors(
        path, {n: t + 1 for n, t in tensors.items()}, read_tensors(path)[1]
    ),
    "other tensors": lambda path, tensors: write_tensors(path, {"x": torch.ones(2)}),
    "cut short": lambda path, tensors: path.write_bytes(path.read_bytes()[:100]),
    "empty": lambda path, tensors: path.write_bytes(b""),
    "a pickle": lambda path, tensors: path.write_bytes(b"\x80\x04N."),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_cache_that_is_not_as_written_is_made_again(
    tiny_folder, face_pairs, tmp_path, count_encodings, damage
):
    """Nothing is lost with it, so there is nothing to ask the user for."""
    base = PipelineModel.load(str(tiny_folder), device="cpu")
    pairs = face_pairs({"hat": "cap"}, 1, size=64)
    (made,) = encode_pairs(base, pairs, 64, tmp_path)
    words = prompt_condition(base, "an old person")
    kept = [*tmp_path.glob("*.safetensors"), *cache_folder().glob("*.safetensors")]
    assert len(kept) == 3
    whole = {path: path.read_bytes() for path in kept}
    for path in kept:
        DAMAGES[damage](path, read_tensors(path)[0])
    (again,) = encode_pairs(base, pairs, 64, tmp_path)
    assert len(count_encodings) == 4
    assert torch.equal(made.x_a, again.x_a)
    assert torch.equal(made.x_b, again.x_b)
    other = PipelineModel.load(str(tiny_folder), device="cpu")
    assert torch.equal(
        prompt_condition(other, "an old person").extras["pooled"], words.extras["pooled"]
    )
    assert {path: path.read_bytes() for path in kept} == whole


def test_a_prompt_s_cache_that_is_damaged_in_the_middle_of_a_training(tiny_folder):
    base = PipelineModel.load(str(tiny_folder), device="cpu")
    found = prompt_conditions(base, ["a hat"])
    wanted = found["a hat"].extras["pooled"]
    (path,) = cache_folder().glob("*.safetensors")
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    assert torch.equal(found["a hat"].extras["pooled"], wanted)
    assert path.read_bytes() != bytes(data)
    assert not base.knows("a hat")
