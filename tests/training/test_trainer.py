"""Joint training: gradients go where they may, and a run is reproducible bit for bit."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from pairedit_sdk.edits.edit import Edit, EditorSettings
from pairedit_sdk.errors import TrainingError, UsageError
from pairedit_sdk.lora.adapters import detach_all, lora_layers, set_scales
from pairedit_sdk.pairs.latents import encode_pairs
from pairedit_sdk.training import config as config_module
from pairedit_sdk.training.branches import Branches
from pairedit_sdk.training.config import TrainConfig
from pairedit_sdk.training.objectives import OBJECTIVES
from pairedit_sdk.training.processes import share_of
from pairedit_sdk.training.run_lock import run_lock
from pairedit_sdk.training.trainer import train

SHORT = TrainConfig(steps=4, rank=4, checkpoint_every=2, sigma_count=8)


@pytest.fixture(scope="module")
def pairs(face_pairs):
    return face_pairs({"glasses": "round"}, 2, size=64)


def test_guidance_that_a_model_ignores_is_not_kept_as_the_edits(tiny_model, pairs, monkeypatch):
    edit = train(tiny_model, pairs, replace(SHORT, steps=1), name="e")
    assert (edit.info.guidance, edit.info.settings["guidance"]) == (3.5, 3.5)
    monkeypatch.setattr(tiny_model, "takes_guidance", False)
    edit = train(tiny_model, pairs, replace(SHORT, steps=1), name="e")
    assert (edit.info.guidance, edit.info.settings["guidance"]) == (0.0, 0.0)


def _branches(base, config):
    return Branches(base, config, base.condition(""))


def _latents(base, pairs):
    return encode_pairs(base, pairs, 64)


def _losses(branches, latents, draw):
    """The losses of a draw of pairs that share one size."""
    (losses,) = branches.losses(latents, draw)
    return losses


def _gradients(branches, loss):
    for parameter in branches.parameters.values():
        parameter.grad = None
    loss.backward()
    return {
        kind: sum(
            float(p.grad.abs().sum())
            for n, p in branches.parameters.items()
            if n.startswith(f"{kind}/") and p.grad is not None
        )
        for kind in ("content", "semantic")
    }


def _wake(branches):
    """Give B some values: at its zero start half of all gradients vanish."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in branches.parameters.items():
            if name.endswith("lora_B"):
                parameter += torch.randn(parameter.shape, generator=generator) * 0.05


def _spied_rows(monkeypatch, objective):
    """The rows that the objective is given from now on."""
    seen, original = [], OBJECTIVES[objective]

    def spy(branches, rows):
        seen.append(rows)
        return original(branches, rows)

    monkeypatch.setitem(OBJECTIVES, objective, spy)
    return seen


def test_every_objective_of_the_settings_has_its_function():
    assert tuple(OBJECTIVES) == config_module.OBJECTIVES


@pytest.mark.parametrize("objective", ["pairedit", "difference", "slider"])
def test_each_loss_gives_its_gradient_to_its_own_lora_alone(tiny_model, pairs, objective):
    latents = _latents(tiny_model, pairs)
    branches = _branches(tiny_model, replace(SHORT, objective=objective))
    try:
        _wake(branches)
        got = _gradients(branches, _losses(branches, latents, 0).content)
        assert got["content"] > 0
        assert got["semantic"] == 0
        got = _gradients(branches, _losses(branches, latents, 0).semantic)
        assert got["content"] == 0
        assert got["semantic"] > 0
    finally:
        detach_all(tiny_model.transformer)


def test_losses_and_gradients_are_a_direct_transcription_of_the_formulae(
    tiny_model, pairs, monkeypatch
):
    """Both branches once more, as two separate passes written from Eq. 3 and 10."""
    latents = _latents(tiny_model, pairs)
    config = replace(SHORT, batch=1, eta=4.0, beta=2.0)
    branches = _branches(tiny_model, config)
    try:
        _wake(branches)
        seen = _spied_rows(monkeypatch, config.objective)
        losses = _losses(branches, latents, 5)
        losses.total.backward()
        ours = {n: p.grad.clone() for n, p in branches.parameters.items()}
        for parameter in branches.parameters.values():
            parameter.grad = None

        (rows,) = seen
        x_a, x_b, sigma, eps = rows.x_a, rows.x_b, rows.sigma, rows.noise
        x_t = x_a + sigma.view(-1, 1, 1, 1) * config.beta * eps
        s = config.alpha / config.rank
        condition = tiny_model.condition("")

        def velocity():
            return tiny_model.velocity(x_t, sigma, condition, config.guidance)

        content = {n: p for n, p in branches.parameters.items() if n.startswith("content/")}
        set_scales(tiny_model.transformer, {"content": s, "content_frozen": 0.0, "semantic": 0.0})
        l_c = ((velocity() - config.beta * eps) ** 2).mean()
        l_c.backward()
        for parameter in content.values():
            parameter.requires_grad_(False)
        set_scales(tiny_model.transformer, {"semantic": s})
        target = config.beta * eps + config.eta * (x_a - x_b)
        l_s = ((velocity() - target) ** 2).mean()
        l_s.backward()

        assert abs(float((losses.content - l_c).detach())) < 1e-5
        assert abs(float((losses.semantic - l_s).detach())) < 1e-5
        for name, parameter in branches.parameters.items():
            assert torch.allclose(ours[name], parameter.grad, atol=1e-5), name
    finally:
        detach_all(tiny_model.transformer)


def test_without_a_content_lora_only_the_semantic_one_is_there(tiny_model, pairs):
    branches = _branches(tiny_model, replace(SHORT, content_lora=False))
    try:
        assert {n.split("/")[0] for n in branches.parameters} == {"semantic"}
        losses = _losses(branches, _latents(tiny_model, pairs), 0)
        assert float(losses.content.detach()) == 0
        assert float(losses.semantic.detach()) > 0
    finally:
        detach_all(tiny_model.transformer)


@pytest.mark.parametrize("start", [0.0, 0.3, -0.5])
def test_flowedit_s_target_at_every_state_leads_from_there_to_b(tiny_model, pairs, start):
    """With exactly the target's velocities the editor ends in x_B, wherever it begins."""
    from pairedit_sdk.editing.flowedit import flowedit
    from pairedit_sdk.flow.losses import flowedit_state, flowedit_target, linear_progress
    from pairedit_sdk.flow.schedule import standard_noising
    from pairedit_sdk.flow.solvers import last_state

    latents = _latents(tiny_model, pairs)[0]
    x_a, x_b = latents.x_a, latents.x_b
    sigmas = tiny_model.sigmas(28, 64, 64)
    generator = torch.Generator().manual_seed(0)
    noises = [torch.randn(x_a.shape, generator=generator) for _ in range(28)]
    seen = []

    def velocities(edited, plain, sigma):
        noise = noises[len(seen) + 4]
        noised = standard_noising(x_a, noise, sigma)
        # Straight on from a start that is off the line.
        first = float(sigmas[4])
        progress = start + (1 - start) * linear_progress(sigma.view(1), first)
        state = flowedit_state(noised, x_a, x_b, progress)
        seen.append(float((edited + start * (x_b - x_a) - state).abs().max()))
        v = torch.randn(x_a.shape, generator=generator)
        return flowedit_target(v, x_a, x_b, sigma.view(1), progress), v

    states = flowedit(x_a, sigmas, velocities, lambda step, _: noises[step], n_max=24)
    result = last_state(states)
    assert torch.allclose(result + start * (x_b - x_a), x_b, atol=1e-4)
    assert max(seen) < 1e-4
    assert len(seen) == 24


@pytest.mark.parametrize("objective", ["difference", "reconstruction", "flowedit"])
def test_objectives_of_the_semantic_lora_alone_are_their_formulae(
    tiny_model, pairs, objective, monkeypatch
):
    config = replace(SHORT, objective=objective, content_lora=False, noising="standard", batch=1)
    if objective == "flowedit":
        config = replace(config, lag=0.5, lead=0.25)
    latents = _latents(tiny_model, pairs)
    branches = _branches(tiny_model, config)
    try:
        _wake(branches)
        seen = _spied_rows(monkeypatch, objective)
        losses = _losses(branches, latents, 3)
        assert float(losses.content.detach()) == 0
        assert _gradients(branches, losses.semantic)["semantic"] > 0

        (rows,) = seen
        x_a, x_b, sigma, eps = rows.x_a, rows.x_b, rows.sigma, rows.noise
        s = sigma.view(-1, 1, 1, 1)
        first = tiny_model.sigmas(config.sigma_count, 64, 64)[-8]  # the editor's, of 8 levels

        def velocity(x, scale):
            set_scales(tiny_model.transformer, {"semantic": scale * config.alpha / config.rank})
            with torch.no_grad():
                return tiny_model.velocity(x, sigma, tiny_model.condition(""), config.guidance)

        z_src = (1 - s) * x_a + s * eps
        if objective == "difference":
            state, target = z_src, velocity(z_src, 0.0) + config.eta * (x_a - x_b)
        elif objective == "reconstruction":
            state, target = (1 - s) * x_b + s * eps, eps - x_b
        else:
            line = 1 - sigma / first
            low, high = 0.5 * line, line + 0.25 * (1 - line)
            z = x_a + (low + rows.place * (high - low)).view(-1, 1, 1, 1) * (x_b - x_a)
            state, target = z_src + z - x_a, velocity(z_src, 0.0) + (z - x_b) / s
        weight = s**2 if objective == "flowedit" else 1
        wanted = (weight * (velocity(state, 1.0) - target).square()).mean()
        assert float(losses.semantic.detach()) == pytest.approx(float(wanted), rel=1e-5)
    finally:
        detach_all(tiny_model.transformer)


@pytest.mark.parametrize("objective", ["reconstruction", "flowedit"])
def test_objectives_that_want_the_semantic_lora_alone_say_so(objective):
    with pytest.raises(UsageError, match="content_lora is True, expected False with"):
        replace(SHORT, objective=objective)


@pytest.mark.parametrize("name", ["lag", "lead"])
def test_lag_and_lead_without_flowedit_s_states_say_so(name):
    with pytest.raises(UsageError, match=f"{name} is 0.5, expected 0 with objective pairedit"):
        replace(SHORT, **{name: 0.5})


def test_an_edit_says_how_it_is_meant_to_be_used(tiny_model, pairs):
    config = replace(SHORT, steps=1, edit_steps=6, edit_n_avg=2, edit_threshold=0.1)
    edit = train(tiny_model, pairs, config, name="e")
    assert edit.info.editor == EditorSettings(6, 2, 0.1)


def test_the_gain_is_in_the_edit(tiny_model, pairs):
    plain, strong = (
        train(tiny_model, pairs, replace(SHORT, gain=gain), name="e") for gain in (1.0, 1.5)
    )
    assert strong.info.unit_scale == 1.5
    for name, layer in plain.layers.items():
        assert torch.allclose(strong.layers[name].up, 1.5 * layer.up)


def test_what_a_single_pair_shows_is_not_amplified(tiny_model, face_pairs):
    one = face_pairs({"hat": "beanie"}, 1, size=64)
    assert train(tiny_model, one, replace(SHORT, gain=1.5), name="e").info.unit_scale == 1


def test_stratified_levels_share_the_schedule_out(tiny_model):
    config = replace(SHORT, batch=8, sigma_sampling="stratified", sigma_count=8)
    branches = _branches(tiny_model, config)
    try:
        for seed in range(5):
            picks = branches._picks(8, torch.Generator().manual_seed(seed))
            assert sorted(picks) == list(range(8))
        assert branches._picks(8, torch.Generator().manual_seed(0)) != sorted(
            branches._picks(8, torch.Generator().manual_seed(0))
        )
    finally:
        detach_all(tiny_model.transformer)


def test_every_draw_has_its_own_noise_and_the_same_one_again(tiny_model, pairs):
    latents = _latents(tiny_model, pairs)
    branches = _branches(tiny_model, SHORT)
    try:
        values = [float(_losses(branches, latents, k).total.detach()) for k in (0, 1, 2, 0)]
        assert values[0] == values[3]
        assert len(set(values)) == 3
    finally:
        detach_all(tiny_model.transformer)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_pairs_of_different_sizes_train_together(tiny_model, face_pairs, checkpointing):
    from PIL import Image

    from pairedit_sdk.pairs.pair_set import PairSet

    square = face_pairs({"hat": "beanie"}, 1, size=64)[0]
    wide = tuple(
        image.resize((128, 64), Image.Resampling.BICUBIC) for image in (square.before, square.after)
    )
    mixed = PairSet.from_images([(square.before, square.after), wide])
    config = replace(SHORT, batch=4, resolution=64, gradient_checkpointing=checkpointing)
    edit = train(tiny_model, mixed, config, name="mixed")
    assert edit.info.pairs == list(mixed.names)


def test_the_same_seed_gives_the_same_file_and_another_seed_another(tiny_model, pairs, tmp_path):
    files = []
    for k, seed in enumerate((1, 1, 2)):
        edit = train(tiny_model, pairs, replace(SHORT, seed=seed), name="same")
        files.append(edit.save(tmp_path / f"{k}.safetensors").read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_training_leaves_the_base_as_it_was(tiny_model, pairs):
    before = {n: p.clone() for n, p in tiny_model.transformer.named_parameters()}
    train(tiny_model, pairs, replace(SHORT, gradient_checkpointing=True), name="glasses")
    assert list(lora_layers(tiny_model.transformer)) == []
    after = dict(tiny_model.transformer.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(after[n], value) for n, value in before.items())
    assert not tiny_model.transformer.is_gradient_checkpointing


@pytest.mark.parametrize(
    "optimizer_setting",
    [{}, {"lr_schedule": "cosine", "accumulate": 2}, {"optimizer": "adamw8bit"}],
)
def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(
    tiny_model, pairs, tmp_path, optimizer_setting
):
    config = replace(SHORT, steps=6, **optimizer_setting)
    whole = train(tiny_model, pairs, config, name="e", run_dir=tmp_path / "whole")

    class StopError(Exception):
        pass

    def stop(info):
        if info.step == 3:
            raise StopError

    with pytest.raises(StopError):
        train(tiny_model, pairs, config, name="e", run_dir=tmp_path / "cut", on_step=stop)
    resumed = train(tiny_model, pairs, config, name="e", run_dir=tmp_path / "cut", resume=True)
    for name, layer in whole.layers.items():
        assert torch.equal(layer.up, resumed.layers[name].up)
        assert torch.equal(layer.down, resumed.layers[name].down)
    losses = [
        [
            (line["step"], line["content_loss"], line["semantic_loss"])
            for line in map(json.loads, (tmp_path / d / "metrics.jsonl").read_text().splitlines())
        ]
        for d in ("whole", "cut")
    ]
    assert losses[0] == losses[1]
    assert [step for step, *_ in losses[0]] == [1, 2, 3, 4, 5, 6]


def test_a_run_folder_holds_what_it_should(tiny_model, pairs, tmp_path):
    config = replace(SHORT, preview_every=4, resolution=64)
    edit = train(tiny_model, pairs, config, name="e", run_dir=tmp_path)
    there = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert {
        "config.json", "metrics.jsonl", "checkpoints/step-000002.safetensors",
        "checkpoints/step-000004.safetensors", "previews/step-000004.png",
        "content.safetensors", "edit.safetensors",
    } <= there  # fmt: skip
    assert not [name for name in there if "part" in name]
    again = Edit.load(tmp_path / "edit.safetensors")
    assert again.info == edit.info
    assert all(torch.equal(again.layers[n].up, layer.up) for n, layer in edit.layers.items())
    assert (tmp_path / "content.safetensors").read_bytes() != (
        tmp_path / "edit.safetensors"
    ).read_bytes()


def test_a_used_run_folder_is_not_written_over(tiny_model, pairs, tmp_path):
    train(tiny_model, pairs, SHORT, name="e", run_dir=tmp_path)
    with pytest.raises(UsageError, match=r"already holds a run, at step 4.*--resume"):
        train(tiny_model, pairs, SHORT, name="e", run_dir=tmp_path)


def test_resuming_with_other_settings_or_pictures_is_refused(
    tiny_model, pairs, face_pairs, tmp_path
):
    train(tiny_model, pairs, SHORT, name="e", run_dir=tmp_path)
    with pytest.raises(UsageError, match=r"eta was 4\.0, now 3\.0"):
        train(tiny_model, pairs, replace(SHORT, eta=3.0), name="e", run_dir=tmp_path, resume=True)
    others = face_pairs({"hat": "cap"}, 2, size=64)
    record = (tmp_path / "config.json").read_bytes()
    with pytest.raises(UsageError, match="was on other pictures, another model or in another prec"):
        train(tiny_model, others, replace(SHORT, steps=8), name="e", run_dir=tmp_path, resume=True)
    assert (tmp_path / "config.json").read_bytes() == record


def test_another_precision_is_another_run(tiny_folder, pairs, tmp_path):
    from pairedit_sdk.models.loading import load_base

    whole, four_bits = (
        load_base(str(tiny_folder), device="cpu", precision=p) for p in ("fp32", "nf4")
    )
    with pytest.raises(
        UsageError, match="The settings say precision nf4, the model is held in fp32"
    ):
        train(whole, pairs, replace(SHORT, precision="nf4"), name="e", run_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
    train(whole, pairs, SHORT, name="e", run_dir=tmp_path)
    with pytest.raises(UsageError, match="in another precision"):
        train(four_bits, pairs, replace(SHORT, steps=8), name="e", run_dir=tmp_path, resume=True)


def test_ctrl_c_ends_the_step_and_leaves_a_checkpoint_to_go_on_from(tiny_model, pairs, tmp_path):
    def interrupt(info):
        if info.step == 3:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)  # a shell's background jobs ignore it
    long = replace(SHORT, steps=5, checkpoint_every=0)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_model, pairs, long, name="e", run_dir=tmp_path, on_step=interrupt)
    assert [p.stem for p in (tmp_path / "checkpoints").iterdir()] == ["step-000003"]
    assert signal.getsignal(signal.SIGINT) is before
    resumed = train(tiny_model, pairs, long, name="e", run_dir=tmp_path, resume=True)
    whole = train(tiny_model, pairs, long, name="e")
    for name, layer in whole.layers.items():
        assert torch.equal(layer.up, resumed.layers[name].up)


def test_a_program_s_own_accelerator_is_left_as_it_is(tiny_model, pairs):
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    train(tiny_model, pairs, replace(SHORT, steps=1), name="e")
    assert not AcceleratorState._shared_state
    try:
        own = Accelerator(cpu=True, mixed_precision="bf16")
        train(tiny_model, pairs, replace(SHORT, steps=1), name="e")
        assert own.mixed_precision == "bf16"
        assert Accelerator().mixed_precision == "bf16"
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_training_needs_no_gradients_switched_on(tiny_model, pairs):
    with torch.no_grad():
        edit = train(tiny_model, pairs, SHORT, name="e")
    assert any(layer.up.abs().max() > 0 for layer in edit.layers.values())


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_lr(tiny_model, pairs, tmp_path):
    with pytest.raises(TrainingError, match=r"not a finite number.*smaller lr \(it is 1\)"):
        train(
            tiny_model, pairs, replace(SHORT, steps=60, lr=1.0, alpha=1e9), name="e",
            run_dir=tmp_path,
        )  # fmt: skip
    assert list(lora_layers(tiny_model.transformer)) == []


def test_an_nf4_base_can_be_trained(tiny_folder, pairs):
    from pairedit_sdk.models.loading import load_base

    base = load_base(str(tiny_folder), device="cpu", precision="nf4")
    edit = train(base, pairs, replace(SHORT, gradient_checkpointing=True), name="e")
    assert all(torch.isfinite(layer.up).all() for layer in edit.layers.values())
    assert any(layer.up.abs().max() > 0 for layer in edit.layers.values())


def test_resuming_with_fewer_steps_or_another_schedule_length_is_refused(
    tiny_model, pairs, tmp_path
):
    train(tiny_model, pairs, SHORT, name="e", run_dir=tmp_path / "a")
    with pytest.raises(UsageError, match=r"is at step 4 already\. Got steps=3"):
        train(
            tiny_model, pairs, replace(SHORT, steps=3), name="e", run_dir=tmp_path / "a",
            resume=True,
        )  # fmt: skip
    cosine = replace(SHORT, lr_schedule="cosine")
    train(tiny_model, pairs, cosine, name="e", run_dir=tmp_path / "b")
    with pytest.raises(UsageError, match="steps was 4, now 8"):
        train(
            tiny_model, pairs, replace(cosine, steps=8), name="e", run_dir=tmp_path / "b",
            resume=True,
        )  # fmt: skip


def test_a_damaged_checkpoint_is_named_with_what_to_do(tiny_model, pairs, tmp_path):
    train(tiny_model, pairs, SHORT, name="e", run_dir=tmp_path)
    newest = tmp_path / "checkpoints" / "step-000004.safetensors"
    newest.write_bytes(newest.read_bytes()[:100])
    longer = replace(SHORT, steps=6)
    with pytest.raises(TrainingError, match=r"step-000004\.safetensors is damaged.*Delete it"):
        train(tiny_model, pairs, longer, name="e", run_dir=tmp_path, resume=True)
    newest.unlink()
    edit = train(tiny_model, pairs, longer, name="e", run_dir=tmp_path, resume=True)
    whole = train(tiny_model, pairs, longer, name="e")
    assert all(torch.equal(edit.layers[n].up, layer.up) for n, layer in whole.layers.items())


def test_two_processes_learn_the_edit_that_one_learns(tiny_model, tiny_folder, pairs, tmp_path):
    """The command itself under a launcher: one of the processes speaks and writes."""
    for side in ("before", "after"):
        folder = tmp_path / "pairs" / ("source" if side == "before" else "target")
        folder.mkdir(parents=True)
        for pair in pairs:
            getattr(pair, side).save(folder / f"{pair.name}.png")
    config = replace(SHORT, batch=3, sigma_sampling="stratified", resolution=64)
    launch = [
        sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2",
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
        "--main_process_port", "0", "-m", "pairedit_sdk.cli", "train", str(tmp_path / "pairs"),
        "--name", "e", "--base", str(tiny_folder), "--recipe", "published", "--skip-check",
        "--library", str(tmp_path / "edits"), "--json",
    ]  # fmt: skip
    for key in ("steps", "rank", "checkpoint_every", "sigma_count", "batch", "sigma_sampling",
                "resolution"):  # fmt: skip
        launch += ["--set", f"{key}={getattr(config, key)}"]
    done = subprocess.run(launch, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["steps"] == 4
    losses = []
    whole = train(
        tiny_model, pairs, config, name="e",
        on_step=lambda info: losses.append(info.content_loss + info.semantic_loss),
    )  # fmt: skip
    lines = (tmp_path / "edits" / "runs" / "e" / "metrics.jsonl").read_text().splitlines()
    two = [row["content_loss"] + row["semantic_loss"] for row in map(json.loads, lines)]
    assert two == pytest.approx(losses, rel=1e-4)
    edit = Edit.load(tmp_path / "edits" / "e.safetensors")
    for name, layer in whole.layers.items():
        assert torch.allclose(edit.layers[name].up, layer.up, rtol=1e-2, atol=1e-5)


def test_a_batch_that_processes_cannot_share_is_refused():
    alone, three = (SimpleNamespace(num_processes=n, process_index=n - 1) for n in (1, 3))
    assert list(share_of(alone, 4)) == [0, 1, 2, 3]
    assert list(share_of(three, 7)) == [2, 5]
    with pytest.raises(UsageError, match="A batch of 2 cannot be shared by 3 processes"):
        share_of(three, 2)


def test_two_trainings_cannot_be_in_one_folder(tiny_model, pairs, tmp_path):
    def other(info):
        with pytest.raises(UsageError, match="Another training is going on in"), run_lock(tmp_path):
            raise AssertionError("it was let in")

    train(tiny_model, pairs, replace(SHORT, steps=1), name="e", run_dir=tmp_path, on_step=other)
    with run_lock(tmp_path):
        pass


def test_losses_beyond_all_bounds_stop_the_run(tiny_model, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr("pairedit_sdk.training.trainer.EXPLODED", 1e-3)
    with pytest.raises(TrainingError, match=r"The loss of step 1 is \d+.*Try a smaller lr"):
        train(tiny_model, pairs, SHORT, name="e", run_dir=tmp_path)
    assert not (tmp_path / "edit.safetensors").exists()


def test_a_calibrated_edit_at_scale_1_is_the_plain_one_at_its_factor(tiny_model, pairs):
    plain = train(tiny_model, pairs, replace(SHORT, lr=2e-2), name="e")
    calibrated = train(tiny_model, pairs, replace(SHORT, lr=2e-2, calibrate=True), name="e")
    factor = calibrated.info.unit_scale
    assert (plain.info.unit_scale, plain.info.settings["calibrate"]) == (1.0, False)
    assert 0.06 <= factor <= 1.6
    for name, layer in plain.layers.items():
        assert torch.allclose(calibrated.layers[name].up, layer.up * factor)
        assert torch.equal(calibrated.layers[name].down, layer.down)


def test_an_edit_names_its_model_so_that_it_is_found_from_elsewhere(
    tiny_folder, pairs, tmp_path, monkeypatch
):
    from pairedit_sdk.models.loading import load_base
    from pairedit_sdk.training.run_folder import read_settings

    monkeypatch.chdir(tiny_folder.parent)
    model = load_base(f"./{tiny_folder.name}", device="cpu")
    config = replace(SHORT, steps=1, base=f"./{tiny_folder.name}")
    edit = train(model, pairs, config, name="e", run_dir=tmp_path)
    assert edit.info.base == edit.info.settings["base"] == str(tiny_folder)
    assert read_settings(tmp_path / "config.json")["base"] == str(tiny_folder)


@pytest.mark.parametrize("given", [[], None, 3, ()])
def test_what_is_no_pairs_is_refused(tiny_model, given):
    with pytest.raises(UsageError, match="These are no pairs"):
        train(tiny_model, given, TrainConfig(steps=1, rank=2), name="x")


def test_a_folder_and_a_list_of_pictures_are_pairs(tiny_model, face_pairs, tmp_path):
    pairs = face_pairs({"glasses": "round"}, 1)
    for side in ("source", "target"):
        (tmp_path / side).mkdir()
    pairs[0].before.save(tmp_path / "source/1.png")
    pairs[0].after.save(tmp_path / "target/1.png")
    config = TrainConfig(steps=1, rank=2, sigma_count=4)
    images = [(pairs[0].before, tmp_path / "target/1.png")]
    made = [train(tiny_model, given, config, name="x") for given in (tmp_path, images)]
    assert made[0].info.pairs_fingerprint == made[1].info.pairs_fingerprint
