"""An analogy as the page asks it, and what is drawn of the answer."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pairedit_sdk.basis.answering import AnalogyAnswer
from pairedit_sdk.basis.mix import EditMix
from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.edits.instruction import Instruction
from pairedit_sdk.edits.shown import ShownChange
from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.image import read_image
from pairedit_sdk.io.resources import examples_dir
from pairedit_sdk.studio import analogy_work, basis_work
from pairedit_sdk.studio.analogy import facts
from pairedit_sdk.studio.examples import ANALOGIES, example_analogy
from pairedit_sdk.studio.page.charts import basis_html, candidates_html, verdict_html
from pairedit_sdk.studio.requests import AnalogyRequest
from pairedit_sdk.studio.service import Service
from pairedit_sdk.words.finding import judged

PAIRS = examples_dir() / "pairs" / "hat"


@pytest.fixture
def three(tmp_path: Path) -> list[str]:
    """The files of a, a′ and b: a hat is put on."""
    paths = [tmp_path / name for name in ("one.png", "other.png", "me.png")]
    for path, picture in zip(paths, example_analogy("hat"), strict=True):
        picture.resize((128, 128)).save(path)
    return [str(path) for path in paths]


@pytest.fixture
def placed(service: Service) -> Service:
    """A service with the edit hat in the basis."""
    sides = ([str(p) for p in (PAIRS / side).iterdir()] for side in ("source", "target"))
    basis_work.place(service, "hat", *sides)
    return service


@pytest.mark.parametrize("name", ANALOGIES)
def test_an_example_shows_one_change_and_another_face(name: str) -> None:
    a, a_prime, b = (np.asarray(picture).astype(int) for picture in example_analogy(name))
    assert a.shape == a_prime.shape == b.shape
    # Half of the pixels at least stay as they are, and another face has others.
    assert 0.01 < (a != a_prime).any(-1).mean() < 0.5 < (a != b).any(-1).mean()


def test_an_edit_answers_and_is_taken_over(placed: Service, three: list[str]) -> None:
    asked = analogy_work.ask(placed, three, AnalogyRequest(steps=2, n_avg=1, scale=0.5))
    assert asked.answer.route.known
    assert asked.mix() == ({"hat": 0.5}, {})
    assert asked.key in placed.pictures
    made = analogy_work.picture(placed, asked)
    assert made is not None
    assert made.size == (128, 128)
    assert not np.array_equal(np.asarray(made), np.asarray(read_image(three[2])))
    command, python = analogy_work.code(placed, asked)
    assert command == "# `pairedit analogy` has no option for n_avg"
    compile(python, "snippet", "exec")
    usual = analogy_work.ask(placed, three, AnalogyRequest())
    start = "pairedit analogy one.png other.png me.png"
    assert analogy_work.code(placed, usual)[0].startswith(start)


def test_what_nothing_answers_has_no_picture(placed: Service, three: list[str]) -> None:
    back = [three[1], three[0], three[2]]
    asked = analogy_work.ask(placed, back, AnalogyRequest(steps=2))
    assert asked.answer.stack is None
    assert analogy_work.picture(placed, asked) is None
    assert asked.mix() == ({}, {})
    forced = analogy_work.ask(placed, back, AnalogyRequest(force=True))
    assert forced.answer.stack is not None
    for answer, kind in ((asked.answer, "bad"), (forced.answer, "usable")):
        assert f'<b class="pe-{kind}">Unlike anything here' in verdict_html(answer)


def test_what_is_missing_is_said(service: Service, three: list[str]) -> None:
    with pytest.raises(UsageError, match="Picture a\N{PRIME} is missing"):
        analogy_work.ask(service, [three[0], None, three[2]], AnalogyRequest())
    with pytest.raises(UsageError, match=r"The basis in .* is empty"):
        analogy_work.ask(service, three, AnalogyRequest())


def test_files_of_one_name_are_told_apart(
    placed: Service, three: list[str], tmp_path: Path
) -> None:
    (tmp_path / "x").mkdir()
    same = tmp_path / "x" / "one.png"
    same.write_bytes(Path(three[1]).read_bytes())
    asked = analogy_work.ask(placed, [three[0], str(same), three[2]], AnalogyRequest())
    assert asked.names == ("a.png", "a2.png", "b.png")


def mix(hat: Edit, similarity: float) -> EditMix:
    return EditMix([(hat, 0.75)], {"hat": similarity, "<b>": -0.2}, {"hat": 0.5, "<b>": 0.4})


def test_bars_are_as_long_as_similarities_and_escaped(placed: Service) -> None:
    hat = placed.engine.edit_named("hat")
    known = AnalogyAnswer(mix(hat, 0.8), None, mix(hat, 0.8) @ 2)
    drawn = candidates_html(known)
    assert re.findall(r"width:([\d.]+)%;height", drawn) == ["80.0", "0.0"]
    assert re.findall(r"left:([\d.]+)%", drawn) == ["50.0", "40.0"]
    assert drawn.count("--primary-500") == 1
    assert ">1.50<" in drawn
    assert "&lt;b&gt;" in drawn
    assert "<b>" not in drawn
    assert 'class="pe-good">Found in the basis' in verdict_html(known)


def test_words_are_drawn_with_what_they_explain(placed: Service) -> None:
    route = mix(placed.engine.edit_named("hat"), 0.1)
    found = judged({"add a <hat>": (0.2, 1.5), "add a cap": (0.9, 1.0)}, 1.0, 0.1, 2)
    said = AnalogyAnswer(route, found, Instruction("add a <hat>") @ 1.2)
    assert 'class="pe-good">Found in words' in verdict_html(said)
    assert "add a &lt;hat&gt;" in verdict_html(said)
    drawn = candidates_html(said)
    assert (drawn.count("chosen"), drawn.count("--primary-500")) == (1, 1)
    assert ">89%<" in drawn
    nothing = AnalogyAnswer(route, judged({"add a cap": (0.95, 1.0)}, 1.0, 0.1, 1), None)
    assert "chosen" not in candidates_html(nothing)
    assert 'class="pe-bad">Unlike anything here' in verdict_html(nothing)


def test_the_basis_as_a_table(placed: Service) -> None:
    drawn = basis_html(basis_work.basis_shown(placed))
    assert re.findall(r"<td[^>]*>([^<]*)</td>", drawn) == ["hat", "3", "mini", "yes"]
    basis_work.remove(placed, "hat")
    assert "Nothing is placed yet" in basis_html(basis_work.basis_shown(placed))


def test_a_learned_basis_answers_where_one_comes_with_the_model(
    placed: Service, three: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    change = ShownChange("web", tokens=torch.ones(1, 2, 8))
    asked_of = []

    def shown(*asked: object, name: str, prompt: str) -> ShownChange:
        asked_of.append(asked[1])
        return change

    about = SimpleNamespace(name="web", architecture="other", encoder="mini")
    web = SimpleNamespace(info=about)
    monkeypatch.setattr("pairedit_sdk.lorweb.shown.default_lorweb", lambda model: web)
    monkeypatch.setattr("pairedit_sdk.lorweb.analogy_answer.shown_change", shown)
    back = [three[1], three[0], three[2]]
    asked = analogy_work.ask(placed, back, AnalogyRequest(scale=0.5))
    assert asked.answer.stack is not None
    assert asked.answer.stack.parts == [(change, 0.5)]
    # It is neither an edit of the library nor an instruction, so there are no sliders for it.
    assert asked.mix() == ({}, {})
    said = facts(asked.answer)
    assert (said["known"], said["lorweb"], said["edits"]) == (False, "web", [])
    assert 'class="pe-good">Answered by a learned basis' in verdict_html(asked.answer)
    assert asked_of == [web]
    # What the user's own edits know they answer themselves.
    known = analogy_work.ask(placed, three, AnalogyRequest())
    assert (known.answer.known, len(asked_of)) == (True, 1)
    basis_work.remove(placed, "hat")
    alone = analogy_work.ask(placed, three, AnalogyRequest())
    assert alone.answer.sentence == "The basis has no edits. The LoRWeB basis web answers it."
    assert facts(alone.answer)["similarities"] == {}
    assert candidates_html(alone.answer) == ""
