"""The empty prompt's embeddings come from a file beside the text encoders, if that is theirs."""

import shutil

import pytest
import torch

from pairedit_sdk.models import empty_prompt
from pairedit_sdk.models.loading import load_base
from pairedit_sdk.models.pipeline_model import PipelineModel


@pytest.mark.parametrize("name", ["mini", "mini-kontext"])
def test_the_built_in_models_files_are_what_their_text_encoders_say(name):
    base = load_base(name, device="cpu")
    kept, made = empty_prompt.kept(base.folder, base), base.encode_prompt("")
    torch.testing.assert_close(kept.prompt_embeds, made.prompt_embeds)
    torch.testing.assert_close(kept.extras["pooled"], made.extras["pooled"])


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy of the tiny pipeline whose file holds other numbers, so that one sees it used."""
    copy = shutil.copytree(tiny_folder, tmp_path / "tiny")
    base = PipelineModel.load(str(copy), device="cpu")
    path = empty_prompt.keep(copy, base, base.encode_prompt(""))
    tensors, header = empty_prompt.read_tensors(path)
    empty_prompt.write_tensors(path, {name: value + 1 for name, value in tensors.items()}, header)
    return copy


def test_the_file_is_taken_for_the_empty_prompt_alone(folder):
    base = PipelineModel.load(str(folder), device="cpu")
    for prompt, more in (("", 1.0), ("a person", 0.0)):
        made, condition = base.encode_prompt(prompt), base.condition(prompt)
        torch.testing.assert_close(condition.prompt_embeds, made.prompt_embeds + more)
        torch.testing.assert_close(condition.extras["pooled"], made.extras["pooled"] + more)


def test_a_file_of_other_text_encoders_is_not_taken(folder):
    tokenizer = folder / "tokenizer" / "tokenizer_config.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    base = PipelineModel.load(str(folder), device="cpu")
    assert empty_prompt.kept(folder, base) is None
    assert torch.equal(base.condition("").extras["pooled"], base.encode_prompt("").extras["pooled"])


def test_a_damaged_file_costs_time_and_nothing_else(folder):
    path = folder / empty_prompt.FILE
    path.write_bytes(path.read_bytes()[:200])
    base = PipelineModel.load(str(folder), device="cpu")
    assert empty_prompt.kept(folder, base) is None
    assert torch.equal(base.condition("").extras["pooled"], base.encode_prompt("").extras["pooled"])
