"""The edit file, and sums of edits."""

import json

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from safetensors.torch import save_file

from pairedit_sdk.editing.generate import generate
from pairedit_sdk.edits.edit import Edit, EditInfo, EditorSettings
from pairedit_sdk.errors import EditError, UsageError
from pairedit_sdk.lora.layers import LoraLayer


def _edit(base, name="one", rank=4, seed=0, size=0.5):
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for target in base.lora_targets("attention"):
        module = base.transformer.get_submodule(target)
        layers[target] = LoraLayer(
            torch.randn(rank, module.in_features, generator=generator) * size,
            torch.randn(module.out_features, rank, generator=generator) * size,
        )
    info = EditInfo(
        name=name, base=base.name, architecture=base.architecture, rank=rank,
        base_fingerprint=base.fingerprint, pairs=["a"], settings={"eta": 4.0},
        editor=EditorSettings(7, 2, 0.1),
    )  # fmt: skip
    return Edit(layers, info)


def test_save_and_load_keep_everything(tiny_model, tmp_path):
    edit = _edit(tiny_model)
    again = Edit.load(edit.save(tmp_path / "one.safetensors"))
    assert again.info == edit.info
    assert again.layers.keys() == edit.layers.keys()
    for name, layer in edit.layers.items():
        assert torch.equal(again.layers[name].down, layer.down)
        assert torch.equal(again.layers[name].up, layer.up)


def test_a_sum_is_used_as_suits_all_its_parts(tiny_model):
    one = _edit(tiny_model)
    two = Edit(one.layers, EditInfo("two", editor=EditorSettings(9, 1, 0.0)))
    assert (one @ 1 + two @ 1).editor == EditorSettings(9, 2, 0.0)
    assert (one @ 1 + two @ 0).editor == one.info.editor
    assert (one @ 1 + two @ 1).merged("both").info.editor == EditorSettings(9, 2, 0.0)
    assert EditInfo("foreign").editor == EditorSettings(28, 1, 0.0)


@pytest.mark.parametrize("composed", [False, True])
def test_stock_diffusers_loads_the_file_with_exactly_our_effect(
    tiny_model, tiny_folder, tmp_path, composed
):
    edit = _edit(tiny_model, size=0.3)
    if composed:
        other = _edit(tiny_model, "two", rank=3, size=0.3, seed=2)
        edit = (edit @ 0.8 + other @ -0.5).merged("one")
    path = edit.save(tmp_path / "one.safetensors")
    pipe = FluxPipeline.from_pretrained(tiny_folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_lora_weights(path, adapter_name="one")
    pipe.set_adapters("one", adapter_weights=0.0)

    def switch(pipe, step, timestep, kwargs):
        pipe.set_adapters("one", adapter_weights=0.7 if step + 1 >= 3 else 0.0)
        return kwargs

    stock = pipe(
        "an old person", height=128, width=128, num_inference_steps=6, guidance_scale=3.5,
        max_sequence_length=32, generator=torch.Generator("cpu").manual_seed(1),
        callback_on_step_end=switch,
    ).images[0]  # fmt: skip
    stack = Edit.load(path) @ 0.7
    ours = generate(tiny_model, "an old person", stack, seed=1, steps=6, start_step=3)
    plain = generate(tiny_model, "an old person", seed=1, steps=6)
    difference = np.abs(np.asarray(stock, np.int16) - np.asarray(ours, np.int16)).max()
    assert difference <= 2
    assert np.abs(np.asarray(plain, np.int16) - np.asarray(ours, np.int16)).max() > 5


def test_a_sum_is_the_sum_of_the_updates_on_every_weight(tiny_model):
    one, two = _edit(tiny_model, "one", rank=4, seed=1), _edit(tiny_model, "two", rank=3, seed=2)
    merged = (one @ 0.8 + two @ -0.5).merged("both")
    assert merged.info.rank == 7
    assert merged.info.parts == [("one", 0.8), ("two", -0.5)]
    for name, layer in merged.layers.items():
        expected = sum(
            s * e.layers[name].up.double() @ e.layers[name].down.double()
            for e, s in ((one, 0.8), (two, -0.5))
        )
        got = layer.up.double() @ layer.down.double()
        assert (got - expected).norm() <= 1e-6 * expected.norm()


def test_arithmetic_of_scales(tiny_model):
    one, two = _edit(tiny_model, "one"), _edit(tiny_model, "two")
    stack = (one @ 1 + two @ 0.5 + one) @ 0.5
    assert [(e.name, s) for e, s in stack.parts] == [("one", 0.5), ("two", 0.25), ("one", 0.5)]
    assert repr(one @ 1 + two @ 0.5) == "one @ 1 + two @ 0.5"


def test_a_smaller_rank_and_what_it_loses(tiny_model):
    edit = _edit(tiny_model, rank=4)
    small, error = edit.with_rank(1)
    assert (small.info.rank, small.name) == (1, edit.name)
    assert {layer.rank for layer in small.layers.values()} == {1}
    assert 0 < error < 1
    same, nothing = edit.with_rank(9)
    assert (same.info.rank, nothing) == (4, 0.0)
    with pytest.raises(UsageError, match="The rank 0 cannot be used"):
        edit.with_rank(0)


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_a_scale_that_is_not_finite_is_refused(tiny_model, scale):
    with pytest.raises(UsageError, match="scale of edit 'one'"):
        _edit(tiny_model) @ scale


def test_edits_of_different_bases_do_not_merge(tiny_model):
    one = _edit(tiny_model, "one")
    foreign = Edit(one.layers, EditInfo("far", base="other", base_fingerprint="0123"))
    with pytest.raises(EditError, match="mixes edits of different models"):
        (one + foreign).merged("both")


def test_an_edit_of_another_base_is_refused_with_both_names(tiny_model):
    one = _edit(tiny_model)
    foreign = Edit(one.layers, EditInfo("far", base="other", base_fingerprint="0123"))
    with pytest.raises(EditError, match=r"learned on another model.*other \(0123\)"):
        generate(tiny_model, "", foreign, steps=2, start_step=0)


def test_a_foreign_lora_with_alpha_in_its_metadata_is_baked(tiny_model, tmp_path):
    edit = _edit(tiny_model)
    path = edit.save(tmp_path / "one.safetensors")
    from safetensors.torch import load_file

    metadata = {
        "lora_adapter_metadata": json.dumps({"transformer.r": 4, "transformer.lora_alpha": 2})
    }
    save_file(load_file(path), tmp_path / "foreign.safetensors", metadata=metadata)
    foreign = Edit.load(tmp_path / "foreign.safetensors")
    assert foreign.name == "foreign"
    for name, layer in foreign.layers.items():
        assert torch.allclose(layer.up, edit.layers[name].up / 2)


def test_alpha_patterns_and_rslora_act_as_in_peft(tiny_model, tmp_path):
    from safetensors.torch import load_file

    edit = _edit(tiny_model)
    path = edit.save(tmp_path / "one.safetensors")
    adapter = {
        "transformer.r": 4, "transformer.lora_alpha": 2, "transformer.use_rslora": True,
        "transformer.alpha_pattern": {"to_q": 6},
    }  # fmt: skip
    save_file(
        load_file(path), tmp_path / "foreign.safetensors",
        metadata={"lora_adapter_metadata": json.dumps(adapter)},
    )  # fmt: skip
    for name, layer in Edit.load(tmp_path / "foreign.safetensors").layers.items():
        factor = (6 if name.endswith(".to_q") else 2) / 4**0.5
        assert torch.allclose(layer.up, edit.layers[name].up * factor)


def test_an_edit_and_a_lora_from_elsewhere_can_be_merged(tiny_model):
    own, foreign = _edit(tiny_model, "own"), _edit(tiny_model, "foreign", seed=2)
    foreign = Edit(foreign.layers, EditInfo("foreign"))
    merged = (foreign @ 0.5 + own @ 1 + own @ 0.25).merged("all")
    assert merged.info.base_fingerprint == own.info.base_fingerprint
    assert merged.info.parts == [("foreign", 0.5), ("own", 1.0), ("own", 0.25)]


def test_the_metadata_has_only_the_adapter_keys_that_every_version_reads(tiny_model, tmp_path):
    from safetensors import safe_open

    with safe_open(_edit(tiny_model).save(tmp_path / "e.safetensors"), "pt") as handle:
        metadata = handle.metadata()
    adapter = json.loads(metadata["lora_adapter_metadata"])
    wanted = ("r", "lora_alpha", "target_modules", "rank_pattern", "alpha_pattern")
    assert set(adapter) == {f"transformer.{key}" for key in wanted}
    assert adapter["transformer.r"] == adapter["transformer.lora_alpha"] == 4
    assert metadata["modelspec.architecture"] == "flux-1-mini/lora"


def _tensors(**tensors):
    return lambda path: save_file(tensors, path)


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda path: path.write_bytes(b""), "is not a readable safetensors file"),
        (lambda path: path.write_bytes(b"\x80\x04pickle"), "pickles are never opened"),
        (_tensors(weight=torch.ones(2)), r"is no LoRA of a model that is known here.*Got weight"),
        (
            _tensors(**{"transformer.x.lora_A.weight": torch.ones(2, 4)}),
            r"transformer\.x has only one half",
        ),
        (
            _tensors(
                **{
                    "transformer.x.lora_A.weight": torch.ones(2, 4),
                    "transformer.x.lora_B.weight": torch.ones(4, 3),
                }
            ),
            r"halves that do not fit together.*\[2, 4\] and \[4, 3\]",
        ),
    ],
)
def test_a_file_that_is_no_edit_is_refused(tmp_path, write, sentence):
    path = tmp_path / "bad.safetensors"
    write(path)
    with pytest.raises(EditError, match=sentence):
        Edit.load(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(EditError, match=r"There is no edit file .*gone"):
        Edit.load(tmp_path / "gone.safetensors")
