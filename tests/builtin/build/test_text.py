"""Both text encoders learn what captions name, without pictures."""

import torch

from pairedit_sdk.builtin.build import loop, parts
from pairedit_sdk.builtin.build.assemble import text_tower
from pairedit_sdk.builtin.build.classifier import HIDDEN
from pairedit_sdk.builtin.build.text import said_loss, train_text
from pairedit_sdk.builtin.faces.attribute_classifier import VALUES
from pairedit_sdk.builtin.faces.numbered import face_at


def test_the_loss_asks_for_what_is_said_and_for_silence():
    sizes = [len(values) + 1 for values in VALUES.values()]
    said = torch.full((1, len(sizes)), HIDDEN)
    said[0, 1] = 0
    perfect = []
    for size, index in zip(sizes, said[0].tolist(), strict=True):
        part = torch.full((1, size), -20.0)
        part[0, index if index != HIDDEN else size - 1] = 20.0
        perfect.append(part)
    loss, right = said_loss(torch.cat(perfect, dim=1), said)
    assert loss < 1e-6
    assert right == 1
    perfect[1] = perfect[1].flip(1)  # says that nothing was said of an attribute that was named
    loss, right = said_loss(torch.cat(perfect, dim=1), said)
    assert loss > 1
    assert right == 0


def test_a_few_steps_teach_what_is_said(monkeypatch, tmp_path):
    now = {"t": 0.0}

    def tick():
        now["t"] += 1.0
        return now["t"]

    monkeypatch.setattr(loop.time, "monotonic", tick)
    lines = []
    monkeypatch.setattr("builtins.print", lambda text, **_: lines.append(text))
    torch.manual_seed(0)
    faces = [face_at(i) for i in range(64)]
    clip, t5 = text_tower(parts.clip()), parts.t5()
    before = clip.state_dict()["encoder.layers.0.mlp.fc1.weight"].clone()
    steps = train_text(clip, t5, faces, tmp_path, minutes=1.0, batch=16)
    assert steps == 60
    assert (clip.state_dict()["encoder.layers.0.mlp.fc1.weight"] - before).abs().max() > 0
    losses = [float(line.split("loss ")[1].split()[0]) for line in lines if "loss" in line]
    assert losses[-1] < 0.75 * losses[0]
