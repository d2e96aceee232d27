"""A small checkpoint in the layout of LoRWeB's trainer, read and mixed as its formula says."""

import pytest
import torch

from pairedit_sdk.errors import EditError, UsageError
from pairedit_sdk.io.files import write_tensors
from pairedit_sdk.lorweb.published import read_lorweb

MODULES = {
    "transformer_blocks.0.attn.to_out.0": (10, 6),
    "single_transformer_blocks.1.proj_mlp": (9, 7),
}
N, R, D, Q = 5, 2, 4, 12
YAML = """
config:
  process:
    - network:
        type: attlora
        linear: 1
        linear_alpha: 1
        network_kwargs:
          lora_keys_dim: 4
          lora_heads: 1
          mixing_coeffs_type: mean
          external_query: true
          query_projection_type: linear
          external_query_model: openai/clip-vit-large-patch14
          loras_num: 5
          lora_softmax: true
          query_mode: cat-aa'b
"""


def _checkpoint(folder, down="lora_A", up="lora_B", query="att_lora_to_q.weight"):
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, (out, inside) in MODULES.items():
        tensors |= {
            f"transformer.{name}.{down}": torch.randn(N, inside, R, generator=generator),
            f"transformer.{name}.{up}": torch.randn(N, R, out, generator=generator),
            f"transformer.{name}.lora_keys": torch.randn(N, D, generator=generator),
            f"transformer.{name}.{query}": torch.randn(D, Q, generator=generator),
        }
    write_tensors(folder / "lora.safetensors", {k: t.half() for k, t in tensors.items()})
    (folder / "config.yaml").write_text(YAML)
    return {key: t.half().float() for key, t in tensors.items()}


@pytest.mark.parametrize("names", [(), ("lora_down", "lora_up", "projection")])
@pytest.mark.parametrize("softmax", [True, False])
def test_a_checkpoint_mixes_as_it_did(tmp_path, names, softmax):
    own = _checkpoint(tmp_path, *names)
    if not softmax:
        (tmp_path / "config.yaml").write_text(YAML.replace("softmax: true", "softmax: false"))
    basis = read_lorweb(tmp_path / "lora.safetensors", tmp_path / "config.yaml", name="web")
    assert (basis.info.encoder, basis.info.settings.count) == ("openai/clip-vit-large-patch14", N)
    query = torch.randn(Q, generator=torch.Generator().manual_seed(1))
    mix = basis.mixed(basis.coefficients(query))
    down, up, projection = names or ("lora_A", "lora_B", "att_lora_to_q.weight")
    for name, (out, inside) in MODULES.items():
        at = f"transformer.{name}."
        scores = own[f"{at}lora_keys"] @ (own[f"{at}{projection}"] @ query) / D**0.5
        e = scores.softmax(0) if softmax else scores.tanh()
        x = torch.randn(3, inside, generator=torch.Generator().manual_seed(2))
        wanted = sum(e[i] * (x @ own[f"{at}{down}"][i] @ own[f"{at}{up}"][i]) for i in range(N))
        assert wanted.shape == (3, out)
        got = x @ mix.layers[name].down.T @ mix.layers[name].up.T
        assert torch.allclose(got, wanted, atol=1e-4)


def test_settings_that_are_missing_or_unknown_are_reported_and_not_guessed(tmp_path):
    _checkpoint(tmp_path)
    text = YAML.replace("          lora_softmax: true\n", "").replace("cat-aa'b", "mean")
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(EditError) as found:
        read_lorweb(tmp_path / "lora.safetensors", tmp_path / "config.yaml", name="web")
    assert "lora_softmax is missing" in str(found.value)
    assert "query_mode is 'mean', and only \"cat-aa'b\" is known here" in str(found.value)
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(UsageError, match=r"The settings list\.yaml"):
        read_lorweb(tmp_path / "lora.safetensors", tmp_path / "list.yaml", name="web")


def test_a_checkpoint_that_lacks_something_is_refused(tmp_path):
    own = _checkpoint(tmp_path)
    name = next(iter(MODULES))
    del own[f"transformer.{name}.lora_keys"]
    write_tensors(tmp_path / "lora.safetensors", own)
    with pytest.raises(EditError, match=f"no keys of {name}"):
        read_lorweb(tmp_path / "lora.safetensors", tmp_path / "config.yaml", name="web")
    write_tensors(tmp_path / "lora.safetensors", {"x": torch.ones(1)})
    with pytest.raises(EditError, match="Got none of them"):
        read_lorweb(tmp_path / "lora.safetensors", tmp_path / "config.yaml", name="web")


def test_tensors_that_are_not_known_are_refused_and_not_dropped(tmp_path):
    own = _checkpoint(tmp_path)
    name = next(iter(MODULES))
    own[f"transformer.{name}.lora_B_bias"] = torch.ones(N, 10)
    write_tensors(tmp_path / "lora.safetensors", own)
    with pytest.raises(EditError, match=rf"1 tensor that would act .* Got .*{name}\.lora_B_bias"):
        read_lorweb(tmp_path / "lora.safetensors", tmp_path / "config.yaml", name="web")
