"""Training a basis: reproducible, resumable, and every part of it learns."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from pairedit_sdk.errors import BaseModelError, TrainingError, UsageError
from pairedit_sdk.images.image import read_image
from pairedit_sdk.lora.adapters import lora_layers
from pairedit_sdk.lorweb.analogies import Analogy
from pairedit_sdk.lorweb.answering import answer, answer_with
from pairedit_sdk.lorweb.mixture import Mixture
from pairedit_sdk.lorweb.settings import BasisSettings
from pairedit_sdk.lorweb.trainer import train_basis
from pairedit_sdk.models.image_encoder import load_encoder
from pairedit_sdk.models.loading import load_base

SMALL = BasisSettings(
    count=3, rank=2, key_width=8, targets="attention", steps=4, batch=3, checkpoint_every=2
)


@pytest.fixture(scope="module")
def base(tiny_kontext_folder):
    return load_base(str(tiny_kontext_folder), device="cpu")


@pytest.fixture(scope="module")
def analogies(face_pairs):
    found = []
    for change, said in (
        ({"hat": "beanie"}, "add a beanie"),
        ({"age": "old"}, "make the person old"),
    ):
        one, two = face_pairs(change, 2)
        found.append(Analogy(one.before, one.after, two.before, two.after, said))
    return found


def _same(one, other):
    assert torch.equal(one.router.keys, other.router.keys)
    assert torch.equal(one.router.projection, other.router.projection)
    for name, layer in one.layers.items():
        assert torch.equal(layer.down, other.layers[name].down)
        assert torch.equal(layer.up, other.layers[name].up)


@pytest.mark.parametrize("layout", ["grid", "sequence"])
def test_the_rows_of_a_batch_are_the_mixes_of_their_analogies(base, layout):
    """In training a row's gates; when used, one ordinary LoRA. They are the same function."""
    settings = replace(SMALL, alpha=3.0)
    encoder_width = 6
    mixture = Mixture(base, settings, encoder_width)
    generator = torch.Generator().manual_seed(1)
    queries = 3 * torch.randn(2, encoder_width, generator=generator)
    x = torch.randn(2, 16, 8, 8, generator=generator)
    looked = tuple(
        torch.randn(2, 16, 8, 8, generator=generator)
        for _ in range(3 if layout == "sequence" else 1)
    )
    condition = base.looking_at("", looked)
    try:
        with torch.no_grad():
            for name, parameter in mixture.parameters.items():
                if name.endswith("lora_B"):
                    parameter.copy_(torch.randn(parameter.shape, generator=generator))
            mixture.mix(queries)
            together = base.velocity(x, torch.tensor(0.5), condition, 1.0)
        from pairedit_sdk.lorweb.parts import LearnedInfo

        finished = mixture.finished(LearnedInfo("b", settings=settings))
    finally:
        mixture.close()
    from pairedit_sdk.lora.adapters import attached

    for row in range(2):
        mix = finished.mixed(finished.coefficients(queries[row]))
        own = base.looking_at("", [r[row : row + 1] for r in looked])
        with torch.no_grad(), attached(base.transformer, {"mix": mix.layers}):
            alone = base.velocity(x[row : row + 1], torch.tensor(0.5), own, 1.0)
        assert torch.allclose(together[row : row + 1], alone, atol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


def test_everything_learns_and_the_base_is_left_as_it_was(base, analogies):
    weights = {n: p.clone() for n, p in base.transformer.named_parameters()}
    begun = train_basis(base, analogies, replace(SMALL, steps=1), name="b")
    later = train_basis(base, analogies, SMALL, name="b")
    assert list(lora_layers(base.transformer)) == []
    assert all(torch.equal(p, weights[n]) for n, p in base.transformer.named_parameters())
    # B is 0 at first, so that in the first step nothing else has a gradient.
    assert not torch.equal(begun.router.keys, later.router.keys)
    assert not torch.equal(begun.router.projection, later.router.projection)
    for name, layer in later.layers.items():
        assert layer.up.abs().max() > 0
        assert not torch.equal(layer.down, begun.layers[name].down)
    assert (later.info.encoder, later.info.steps) == (str(base.name), 4)


def test_the_same_seed_gives_the_same_basis_and_a_resumed_run_too(base, analogies, tmp_path):
    whole = train_basis(base, analogies, SMALL, name="b", run_dir=tmp_path / "whole")
    _same(whole, train_basis(base, analogies, SMALL, name="b"))

    class StopError(Exception):
        pass

    def stop(info):
        if info.step == 3:
            raise StopError

    with pytest.raises(StopError):
        train_basis(base, analogies, SMALL, name="b", run_dir=tmp_path / "run", on_step=stop)
    with pytest.raises(UsageError, match="already holds a run, at step 2"):
        train_basis(base, analogies, SMALL, name="b", run_dir=tmp_path / "run")
    _same(
        whole, train_basis(base, analogies, SMALL, name="b", run_dir=tmp_path / "run", resume=True)
    )
    with pytest.raises(UsageError, match=r"lr was 0\.001, now 0\.002"):
        train_basis(
            base,
            analogies,
            replace(SMALL, lr=2e-3),
            name="b",
            run_dir=tmp_path / "run",
            resume=True,
        )
    other = [replace(analogies[0], caption="other"), *analogies[1:]]
    with pytest.raises(UsageError, match="was on other pictures"):
        train_basis(base, other, SMALL, name="b", run_dir=tmp_path / "run", resume=True)
    with pytest.raises(UsageError, match="There is no checkpoint in"):
        train_basis(base, analogies, SMALL, name="b", run_dir=tmp_path / "none", resume=True)
    losses = [
        [
            json.loads(line)["loss"]
            for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()
        ]
        for run in ("whole", "run")
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4


def test_what_every_training_can_be_asked_for(base, analogies, tmp_path):
    settings = replace(SMALL, lora_precision="bf16", lr_schedule="cosine", keep=1)
    basis = train_basis(base, analogies, settings, name="b", run_dir=tmp_path)
    assert all(layer.up.dtype == torch.float32 for layer in basis.layers.values())
    assert all(layer.up.isfinite().all() and layer.up.any() for layer in basis.layers.values())
    assert [path.stem for path in (tmp_path / "checkpoints").iterdir()] == ["step-000004"]
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    rates = [json.loads(line)["lr"] for line in lines]
    assert rates == pytest.approx([1e-3, 8.536e-4, 5e-4, 1.464e-4], rel=1e-3)


@pytest.mark.parametrize("layout", ["grid", "sequence"])
def test_previews_show_the_basis_as_it_stands_and_change_nothing(base, analogies, tmp_path, layout):
    settings = replace(SMALL, layout=layout)
    seen = replace(settings, preview_every=4)
    looked = train_basis(base, analogies, seen, name="b", run_dir=tmp_path / "run")
    _same(looked, train_basis(base, analogies, settings, name="b"))
    (path,) = (tmp_path / "run" / "previews").iterdir()
    assert path.name == "step-000004.png"
    shown = read_image(path)
    assert shown.width > 5 * base.resolution
    assert shown.height > 2 * base.resolution


def test_a_start_from_the_difference_asks_for_the_change_alone(base):
    settings = replace(SMALL, start="difference", unit_embeddings=True)
    mixture = Mixture(base, settings, 6)
    try:
        a, change = torch.randn(2), torch.randn(2)
        one = mixture.router.query(torch.cat([a, a + change, torch.randn(2)]))
        two = mixture.router.query(torch.cat([-a, change - a, torch.randn(2)]))
        assert torch.allclose(one, two, atol=1e-4)
        assert mixture.router.query(torch.cat([a, a, torch.randn(2)])).abs().max() < 1e-4
    finally:
        mixture.close()


def test_unit_embeddings_are_those_that_the_basis_is_asked_with_later(base, analogies):
    settings = replace(SMALL, steps=1, start="difference", unit_embeddings=True)
    basis = train_basis(base, analogies, settings, name="b")
    one = analogies[0]
    query = basis.embed(load_encoder(basis.info.encoder), one.a, one.a_prime, one.b)
    assert torch.allclose(query.view(3, -1).norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("changed", [{"unit_embeddings": False}, {"query": "grid"}])
def test_the_difference_needs_pictures_embedded_apart_and_of_length_1(changed):
    with pytest.raises(UsageError, match="start=difference needs query=pictures and unit"):
        replace(SMALL, **{"start": "difference", "unit_embeddings": True, **changed})


def test_ctrl_c_keeps_the_step_under_way(base, analogies, tmp_path):
    settings = replace(SMALL, checkpoint_every=0)

    def interrupt(info):
        if info.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_basis(
            base, analogies, settings, name="b", run_dir=tmp_path / "run", on_step=interrupt
        )
    later = train_basis(base, analogies, settings, name="b", run_dir=tmp_path / "run", resume=True)
    _same(later, train_basis(base, analogies, settings, name="b"))
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 4


def test_two_processes_give_what_one_gives(base, analogies, tmp_path, tiny_kontext_folder):
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    for change, pictures in zip(("hat", "age"), analogies, strict=True):
        for side in ("a", "a_prime", "b", "b_prime"):
            getattr(pictures, side).save(tmp_path / f"{change}-{side}.png")
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2",
              "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
              "--main_process_port", "0"]  # fmt: skip
    subprocess.run([*launch, str(script), str(tiny_kontext_folder), str(tmp_path)], check=True)
    two = [
        json.loads(line)["loss"]
        for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    losses = []
    train_basis(base, analogies, SMALL, name="b", on_step=lambda info: losses.append(info.loss))
    assert two == pytest.approx(losses, rel=1e-4)


SCRIPT = """
import sys
from pathlib import Path
from PIL import Image
from pairedit_sdk import BasisSettings, load_base, train_basis
from pairedit_sdk.lorweb.analogies import Analogy

if __name__ == "__main__":
    folder = Path(sys.argv[2])
    sides = ("a", "a_prime", "b", "b_prime")
    said = {"hat": "add a beanie", "age": "make the person old"}
    analogies = [
        Analogy(*(Image.open(folder / f"{name}-{side}.png") for side in sides), caption)
        for name, caption in said.items()
    ]
    settings = BasisSettings(
        count=3, rank=2, key_width=8, targets="attention", steps=4, batch=3, checkpoint_every=2
    )
    train_basis(
        load_base(sys.argv[1], device="cpu"), analogies, settings, name="b", run_dir=folder / "run"
    )
"""


@pytest.mark.parametrize("layout", ["grid", "sequence"])
def test_an_answer_is_one_pass_with_one_lora(base, analogies, layout):
    basis = train_basis(base, analogies, replace(SMALL, layout=layout), name="b")
    hat = analogies[0]
    encoder = load_encoder(str(base.name))
    found = answer(
        base, basis, hat.a, hat.a_prime, hat.b.resize((100, 120)), encoder=encoder, steps=2
    )
    assert found.b_prime.size == (100, 120)
    assert sum(found.coefficients.values()) == pytest.approx(1, abs=1e-5)
    again = answer(base, basis, hat.a, hat.a_prime, hat.b, encoder=encoder, steps=2)
    with_mix = answer_with(base, again.mix, hat.a, hat.a_prime, hat.b, layout=layout, steps=2)
    assert again.b_prime.tobytes() == with_mix.tobytes()
    alone = answer_with(base, None, hat.a, hat.a_prime, hat.b, layout=layout, steps=2)
    assert alone.tobytes() != with_mix.tobytes()


def test_what_cannot_be_trained_is_said(base, analogies, tiny_model):
    with pytest.raises(BaseModelError, match="takes no condition images"):
        train_basis(tiny_model, analogies, SMALL, name="b")
    with pytest.raises(UsageError, match="There are no analogies"):
        train_basis(base, [], SMALL, name="b")
    with pytest.raises(UsageError, match=r"count . rank is 80, above the width"):
        train_basis(base, analogies, replace(SMALL, count=40), name="b")


def test_a_loss_that_is_no_number_stops_the_run(base, analogies, monkeypatch):
    velocity = base.velocity
    monkeypatch.setattr(base, "velocity", lambda *given: velocity(*given) * float("nan"))
    with pytest.raises(TrainingError, match="The loss of step 1 is not a finite number"):
        train_basis(base, analogies, SMALL, name="b")
    assert list(lora_layers(base.transformer)) == []
