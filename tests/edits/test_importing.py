"""Imported edits act as the file does in stock tools, and say what is known of them."""

import pytest
import torch
from diffusers import FluxTransformer2DModel
from peft import LoraConfig, PeftModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.edits.guidance import own_guidance
from pairedit_sdk.edits.importing import import_edit
from pairedit_sdk.errors import EditError, UsageError
from pairedit_sdk.lora.export import export
from pairedit_sdk.models.meta import model_skeleton

NAME = "transformer_blocks.0.attn.to_q"


@pytest.fixture
def plain(tmp_path):
    tensors = {
        f"transformer.{NAME}.lora_A.weight": torch.randn(4, 64),
        f"transformer.{NAME}.lora_B.weight": torch.randn(64, 4),
    }
    save_file(tensors, tmp_path / "plain.safetensors")
    return tmp_path / "plain.safetensors"


def _metadata(edit, path):
    with safe_open(edit.save(path), framework="pt") as handle:
        return {k: v for k, v in handle.metadata().items() if k.startswith("modelspec")}


def test_what_is_not_known_is_left_out(plain, tmp_path):
    edit, _ = import_edit(plain)
    said = _metadata(edit, tmp_path / "out.safetensors")
    assert not {"modelspec.architecture", "modelspec.resolution"} & said.keys()
    assert said["modelspec.title"] == "plain"


def test_the_models_architecture_is_said(plain, tmp_path, tiny_folder, tiny_model):
    edit, _ = import_edit(plain, base=str(tiny_folder), name="mine")
    assert (edit.name, edit.info.base) == ("mine", str(tiny_folder))
    said = _metadata(edit, tmp_path / "out.safetensors")
    assert said["modelspec.architecture"] == f"{tiny_model.architecture}/lora"
    assert edit.info.base_fingerprint == ""


def test_what_the_file_says_of_itself_is_kept(plain, tmp_path):
    halves = {
        f"transformer.{key}.lora_{half}.weight": value
        for key, layer in Edit.load(plain).layers.items()
        for half, value in (("A", layer.down), ("B", layer.up))
    }
    header = {"modelspec.architecture": "flux-1-dev/lora", "modelspec.resolution": "1024x1024"}
    save_file(halves, plain, metadata=header)
    edit, _ = import_edit(plain)
    assert (edit.info.architecture, edit.info.resolution) == ("flux-1-dev", 1024)
    said = _metadata(edit, tmp_path / "out.safetensors")
    assert {key: said[key] for key in header} == header
    odd = {"modelspec.architecture": "../x", "modelspec.resolution": "big"}
    save_file(halves, plain, metadata=odd)
    edit, _ = import_edit(plain)
    assert (edit.info.architecture, edit.info.resolution) == ("", 0)


def test_a_dora_acts_on_the_model_that_it_was_made_for(tiny_folder, tiny_model, tmp_path):
    """The same velocity as stock peft's, where reading it as a LoRA would be far off."""
    from pairedit_sdk.lora.adapters import attached

    torch.manual_seed(0)
    transformer = FluxTransformer2DModel.from_pretrained(tiny_folder, subfolder="transformer")
    config = LoraConfig(
        r=4, lora_alpha=4, target_modules=["to_q", "to_out.0"], use_dora=True,
        init_lora_weights=False,
    )  # fmt: skip
    wrapped = PeftModel(transformer, config)
    for name, parameter in wrapped.named_parameters():
        if "magnitude" in name:
            parameter.data *= 1 + 0.3 * torch.randn_like(parameter)
    wrapped.save_pretrained(tmp_path / "dora")
    with pytest.raises(EditError, match="is a DoRA"):
        import_edit(tmp_path / "dora")
    edit, found = import_edit(tmp_path / "dora", base=str(tiny_folder))
    assert found.converted == ["DoRA"]
    assert edit.info.base_fingerprint == tiny_model.fingerprint
    x = torch.randn(1, 16, 16, 16)
    condition, sigma = tiny_model.condition(""), torch.tensor([0.5])
    plain = tiny_model.velocity(x, sigma, condition, 3.5)
    with attached(tiny_model.transformer, {"one": edit.layers}):
        ours = tiny_model.velocity(x, sigma, condition, 3.5)
    merged = wrapped.merge_and_unload()
    weights = {name: merged.get_submodule(name).weight for name in edit.layers}
    before = {}
    try:
        for name, weight in weights.items():
            own = tiny_model.transformer.get_submodule(name).weight
            before[name] = own.detach().clone()
            own.data.copy_(weight.detach())
        stock = tiny_model.velocity(x, sigma, condition, 3.5)
    finally:
        for name, value in before.items():
            tiny_model.transformer.get_submodule(name).weight.data.copy_(value)
    assert (ours - stock).norm() <= 1e-5 * (stock - plain).norm()


def test_a_rank_is_kept_to(plain):
    edit, found = import_edit(plain, rank=2)
    assert edit.info.rank == edit.layers[NAME].rank == 2
    assert 0 < found.error < 1
    with pytest.raises(UsageError, match="The rank 0 cannot be used"):
        import_edit(plain, rank=0)


def test_a_model_without_the_layer_is_named(tiny_folder, tmp_path):
    key = "transformer.transformer_blocks.7.attn.to_q"
    tensors = {
        f"{key}.lora_A.weight": torch.ones(2, 64), f"{key}.lora_B.weight": torch.ones(64, 2),
        f"{key}.lora_magnitude_vector": torch.ones(64),
    }  # fmt: skip
    save_file(tensors, tmp_path / "one.safetensors")
    with pytest.raises(EditError, match=r"has no weight of transformer_blocks\.7\.attn\.to_q"):
        import_edit(tmp_path / "one.safetensors", base=str(tiny_folder))


def test_the_model_says_whose_layers_a_files_names_mean(tiny_family, tmp_path):
    """``time_in`` is another layer in FLUX.2 than in FLUX.1."""
    path, folder = tmp_path / "one.safetensors", str(tiny_family("klein"))
    key = "lora_unet_time_in_in_layer"
    tensors = {
        f"{key}.lora_down.weight": torch.ones(2, 256), f"{key}.lora_up.weight": torch.ones(32, 2),
    }  # fmt: skip
    save_file(tensors, path)
    with pytest.raises(EditError, match=r"FLUX\.1's or FLUX\.2's.*edits import .* --base MODEL"):
        import_edit(path)
    edit, _ = import_edit(path, base=folder)
    assert list(edit.layers) == ["time_guidance_embed.timestep_embedder.linear_1"]
    assert edit.info.architecture == "flux-2-klein-base-small"
    again = tmp_path / "again.safetensors"
    export(edit.layers, "kohya", again, edit.header())
    assert set(load_file(again)) == {*tensors, f"{key}.alpha"}


@pytest.mark.parametrize(
    ("name", "guidance"),
    [("flux2-dev", 4.0), ("klein", 0.0), ("z-image", 0.0), ("qwen-image", 0.0), ("flux", 3.5)],
)
@pytest.mark.parametrize("said", [None, "Flux.2-dev/lora", "flux-1-dev/lora"])
def test_the_model_that_is_named_says_guidance_and_architecture(
    tiny_family, tmp_path, name, guidance, said
):
    folder = str(tiny_family(name))
    layer = "layers.0.attention.to_q" if name == "z-image" else NAME
    width = 48 if name == "qwen-image" else 32
    tensors = {
        f"transformer.{layer}.lora_A.weight": torch.ones(2, width),
        f"transformer.{layer}.lora_B.weight": torch.ones(width, 2),
    }
    path = tmp_path / "one.safetensors"
    save_file(tensors, path, metadata={"modelspec.architecture": said} if said else None)
    model = model_skeleton(folder, torch.float32)
    edit, _ = import_edit(path, base=folder)
    assert (edit.info.architecture, edit.info.guidance) == (model.architecture, guidance)
    assert own_guidance(edit @ 1, model) == guidance


def test_what_was_learned_here_keeps_its_own_guidance(plain, tmp_path, tiny_folder):
    edit = Edit.load(plain).with_info(
        guidance=2.0, architecture="flux-1-other", base_fingerprint="f", base="./chroma"
    )
    edit, _ = import_edit(edit.save(tmp_path / "out.safetensors"), base=str(tiny_folder))
    assert (edit.info.guidance, edit.info.architecture) == (2.0, "flux-1-other")
    assert edit.info.base == str(tiny_folder)


@pytest.mark.parametrize("layer", ["img_in", "txt_in"])
def test_a_name_of_qwens_own_is_not_taken_for_flux1s(tiny_family, tmp_path, layer):
    path, folder = tmp_path / "one.safetensors", str(tiny_family("qwen-image"))

    def halves(prefix, name, rows, columns):
        key = f"{prefix}{name}"
        return {
            f"{key}.lora_A.weight": torch.ones(2, columns),
            f"{key}.lora_B.weight": torch.ones(rows, 2),
        }

    own = halves("transformer.", layer, 48, 16)
    for tensors in (own, own | halves("transformer.", NAME, 48, 48)):
        save_file(tensors, path)
        for edit in (import_edit(path)[0], Edit.load(path)):
            assert layer in edit.layers
    save_file(halves("diffusion_model.", layer, 48, 16), path)
    with pytest.raises(EditError, match=r"FLUX\.1's or Qwen-Image's.*--base MODEL"):
        import_edit(path)
    edit, _ = import_edit(path, base=folder)
    assert list(edit.layers) == [layer]
    assert list(Edit.load(edit.save(tmp_path / "own.safetensors")).layers) == [layer]


def test_diffusers_own_warnings_are_not_the_users(tiny_family, plain, recwarn):
    with pytest.raises(EditError, match="has no match for"):  # of another width
        import_edit(plain, base=str(tiny_family("chroma")))
    assert [str(each.message) for each in recwarn if each.category is FutureWarning] == []
