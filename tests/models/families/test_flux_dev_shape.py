"""A model with FLUX.1-dev's own configuration, its widths made tiny, from pairs to a saved edit.

The values are those of the published configuration files; only widths and depths are smaller.
"""

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from pairedit_sdk import Edit, edit_image, generate, load_base, load_recipe, train
from pairedit_sdk.builtin.build import parts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    words = len(parts.vocabulary())
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=64, num_layers=2, num_single_layers=4, attention_head_dim=128,
        num_attention_heads=1, joint_attention_dim=64, pooled_projection_dim=32,
        guidance_embeds=True, axes_dims_rope=(16, 56, 56),
    )  # fmt: skip
    vae = AutoencoderKL(
        in_channels=3, out_channels=3, down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4, block_out_channels=[32, 32, 32, 32],
        layers_per_block=2, latent_channels=16, norm_num_groups=32, sample_size=1024,
        scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False,
        use_post_quant_conv=False, mid_block_add_attention=True, force_upcast=True,
    )  # fmt: skip
    scheduler = FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=1000, shift=3.0, use_dynamic_shifting=True, base_shift=0.5,
        max_shift=1.15, base_image_seq_len=256, max_image_seq_len=4096,
    )  # fmt: skip
    clip = CLIPTextConfig(
        vocab_size=words, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, projection_dim=32, max_position_embeddings=77, pad_token_id=0,
        bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    t5 = T5Config(
        vocab_size=words, d_model=64, d_kv=16, d_ff=64, num_layers=2, num_heads=4,
        feed_forward_proj="gated-gelu", is_encoder_decoder=False, use_cache=False,
        pad_token_id=0, eos_token_id=3,
    )  # fmt: skip
    clip_tokenizer, t5_tokenizer = parts.tokenizer(begin=True), parts.tokenizer(begin=False)
    clip_tokenizer.model_max_length, t5_tokenizer.model_max_length = 77, 512
    folder = tmp_path_factory.mktemp("dev") / "FLUX.1-dev"
    FluxPipeline(
        scheduler=scheduler, vae=vae, transformer=transformer, text_encoder=CLIPTextModel(clip),
        text_encoder_2=T5EncoderModel(t5), tokenizer=clip_tokenizer, tokenizer_2=t5_tokenizer,
    ).save_pretrained(folder)  # fmt: skip
    return folder


@pytest.mark.parametrize("recipe", ["flux-dev", "flux-dev-fast", "lowmem"])
def test_train_edit_save_and_load(folder, face_pairs, tmp_path, recipe):
    precision = {"lowmem": "nf4"}.get(recipe, "bf16")
    base = load_base(str(folder), device="cpu", precision=precision)
    assert (base.resolution, base.multiple, base.takes_guidance) == (512, 16, True)
    assert base.condition("").prompt_embeds.shape == (1, 512, 64)
    pairs = face_pairs({"glasses": "round"}, 1, size=96)
    settings = ["steps=3", "rank=4", "resolution=64", "optimizer=adamw"]
    config = load_recipe(recipe, settings)
    edit = train(base, pairs, config, name="glasses", run_dir=tmp_path / "run")
    # 2 double blocks of 8 attention layers and 4 single blocks of 3
    assert len(edit.layers) == 2 * 8 + 4 * 3
    assert all(torch.isfinite(layer.up).all() for layer in edit.layers.values())
    again = Edit.load(edit.save(tmp_path / "glasses.safetensors"))
    assert again.info.precision == precision
    picture = face_pairs({"hat": "cap"}, 1, size=100)[0].before
    out = edit_image(base, picture, again @ 0.5, steps=2, resolution=64)
    assert out.size == (100, 100)
    assert generate(base, "a person", again, steps=2, width=64, height=64).size == (64, 64)
