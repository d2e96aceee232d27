"""Strengths in velocity space: a sum of edits is taken apart into its parts."""

import pytest
import torch

from pairedit_sdk.basis.velocity import nonnegative, strengths
from pairedit_sdk.editing.edit_latents import edit_latents
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.lora.adapters import lora_layers
from pairedit_sdk.lora.layers import LoraLayer


def test_nonnegative_least_squares():
    generator = torch.Generator().manual_seed(0)
    columns = torch.randn(40, 4, generator=generator, dtype=torch.float64)
    truth = torch.tensor([1.5, 0.0, 0.7, 0.0], dtype=torch.float64)
    assert torch.allclose(nonnegative(columns, columns @ truth, sparsity=0), truth, atol=1e-6)
    # A negative part is not there to be taken.
    against = torch.tensor([1.5, -1.0, 0.7, 0.0], dtype=torch.float64)
    found = nonnegative(columns, columns @ against, sparsity=0)
    assert found[1] == 0
    assert (found >= 0).all()
    gradient = columns.T @ (columns @ found - columns @ against)
    assert (gradient >= -1e-6).all()  # no step in an allowed direction would help
    assert float((gradient * found).abs().max()) < 1e-6
    empty = torch.cat([columns, torch.zeros(40, 1, dtype=torch.float64)], dim=1)
    assert nonnegative(empty, columns @ truth, sparsity=0)[4] == 0


def test_sparsity_drops_what_hardly_matters():
    columns = torch.eye(10, 3, dtype=torch.float64)
    wanted = torch.zeros(10, dtype=torch.float64)
    wanted[0], wanted[1] = 1.0, 0.01
    assert nonnegative(columns, wanted, sparsity=0.05).tolist()[1:] == [0.0, 0.0]


def test_a_sum_of_what_edits_do_is_taken_apart(tiny_model):
    generator = torch.Generator().manual_seed(0)
    targets = tiny_model.lora_targets("attention")
    layer = tiny_model.transformer.get_submodule(targets[0])

    def edit(name):
        layers = {
            target: LoraLayer(
                torch.randn(2, layer.in_features, generator=generator),
                torch.randn(layer.out_features, 2, generator=generator) * 0.05,
            )
            for target in targets
            if tiny_model.transformer.get_submodule(target).weight.shape == layer.weight.shape
        }
        return Edit(layers, EditInfo(name))

    edits = [edit(name) for name in ("one", "two", "three")]
    x = torch.randn(1, *tiny_model.latent_shape(64, 64), generator=generator)
    one, _, three = (edit_latents(tiny_model, x, edit @ 1) - x for edit in edits)
    found = strengths(tiny_model, edits, x, x + 0.5 * one + three)
    # Sparsity takes a little of each.
    assert found == pytest.approx([0.5, 0.0, 1.0], abs=0.06)
    assert not list(lora_layers(tiny_model.transformer))
