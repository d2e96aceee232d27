"""One model, several threads: whoever has a LoRA attached has the model to itself."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from pairedit_sdk.errors import EditError
from pairedit_sdk.lora.adapters import (
    activate,
    add_trainable,
    attach,
    attached,
    detach_all,
    is_bare,
    require_bare,
    set_scales,
)
from pairedit_sdk.lora.holding import lock_of
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.conditioned import ConditionedModel


@pytest.fixture
def lora(tiny_model):
    generator = torch.Generator().manual_seed(0)
    layers = {}
    for name in tiny_model.lora_targets("attention"):
        module = tiny_model.transformer.get_submodule(name)
        down = torch.randn(2, module.in_features, generator=generator)
        layers[name] = LoraLayer(down, torch.randn(module.out_features, 2, generator=generator))
    return layers


def elsewhere(work, *args):
    """What ``work`` gives in another thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work, *args).result()


def free(transformer):
    """Whether another thread could have the transformer now."""
    lock = lock_of(transformer)

    def tried():
        got = lock.acquire(blocking=False)
        if got:
            lock.release()
        return got

    return elsewhere(tried)


def test_a_transformer_has_one_lock_and_a_copy_of_it_another():
    module = nn.Linear(2, 2)
    barrier = threading.Barrier(8)

    def asked():
        barrier.wait()
        return lock_of(module)

    with ThreadPoolExecutor(8) as pool:
        found = [one.result() for one in [pool.submit(asked) for _ in range(8)]]
    assert {id(one) for one in found} == {id(lock_of(module))}
    assert lock_of(copy.deepcopy(module)) is not lock_of(module)


def test_an_attached_lora_holds_the_model_until_it_is_detached(tiny_model, lora):
    transformer = tiny_model.transformer
    with attached(transformer, {"edit": lora}):
        assert not free(transformer)
        with tiny_model.lock:  # re-entrant
            assert not free(transformer)
        assert not free(transformer)
    assert free(transformer)
    with attached(transformer, {}):  # the model alone is not to be disturbed either
        assert not free(transformer)
    assert free(transformer)


def test_one_that_is_attached_by_hand_holds_it_too(tiny_model, lora):
    transformer = tiny_model.transformer
    attach(transformer, "edit", lora)
    attach(transformer, "another", lora)
    assert not free(transformer)
    detach_all(transformer)
    assert free(transformer)
    detach_all(transformer)
    assert free(transformer)
    add_trainable(transformer, "new", list(lora), 2, torch.Generator())
    assert not free(transformer)
    detach_all(transformer)
    assert free(transformer)


def test_it_is_free_after_an_error(tiny_model, lora):
    transformer = tiny_model.transformer
    unknown = {"nowhere": next(iter(lora.values()))}
    with pytest.raises(EditError), attached(transformer, {"edit": lora, "bad": unknown}):
        raise AssertionError
    assert free(transformer)


def calls(model, lora):
    """Everything that a thread may do with a model."""
    condition, transformer = model.condition(""), model._transformer
    x = torch.randn(1, *model.latent_shape(64, 64), generator=torch.Generator().manual_seed(1))
    sigma, picture = torch.tensor(0.5), torch.zeros(1, 3, 64, 64)
    return {
        "velocity": lambda: model.velocity(x, sigma, condition, 3.5),
        "conditioned": lambda: ConditionedModel(model, condition, 3.5).velocity(x, sigma, {"e": 1}),
        "encode": lambda: model.encode(picture),
        "decode": lambda: model.decode(x),
        "condition": lambda: model.condition("a prompt"),
        "sigmas": lambda: model.sigmas(4, 64, 64),
        "lora_targets": lambda: model.lora_targets("attention"),
        "transformer": lambda: model.transformer,
        "release": model.release_text_encoders,
        "keep_autoencoder": lambda: model.keep_autoencoder(False),
        "checkpointing": lambda: model.set_gradient_checkpointing(False),
        "attach": lambda: (attach(transformer, "e", lora), detach_all(transformer)),
        "detach_all": lambda: detach_all(transformer),
        "set_scales": lambda: set_scales(transformer, {"edit": 0.0}),
        "activate": lambda: activate(transformer, []),
        "require_bare": lambda: require_bare(transformer),
    }


@torch.no_grad()
def test_whatever_another_thread_wants_of_the_model_it_waits(tiny_model, lora):
    """Each of these once disturbed an edit under way, or was disturbed by it."""
    wanted = calls(tiny_model, lora)
    plain = wanted["velocity"]()
    with ThreadPoolExecutor(len(wanted)) as pool:
        with attached(tiny_model.transformer, {"edit": lora}):
            edited = wanted["velocity"]()
            begun = {name: pool.submit(torch.no_grad()(one)) for name, one in wanted.items()}
            with pytest.raises(TimeoutError):
                begun["velocity"].result(timeout=0.1)
            assert not any(one.done() for one in begun.values())
            assert torch.equal(wanted["velocity"](), edited)
        found = {name: one.result(timeout=30) for name, one in begun.items()}
    assert not torch.equal(plain, edited)
    assert torch.equal(found["velocity"], plain)
    assert found["lora_targets"] == list(lora)
    assert is_bare(tiny_model.transformer)
