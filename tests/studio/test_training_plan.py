from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pairedit_sdk.errors import UsageError
from pairedit_sdk.studio.training_plan import (
    Estimate,
    Usual,
    estimate,
    fitting_recipes,
    recipe_about,
    request,
    usual,
)

PAIRS = Path("pairs")


@pytest.mark.parametrize(
    ("model", "first", "others", "none"),
    [
        ("mini-kontext", "mini-kontext", {"kontext-plain", "published"}, {"mini", "kontext-dev"}),
        ("mini", "mini", {"published", "plain"}, {"mini-kontext", "flux-dev"}),
        (
            "black-forest-labs/FLUX.1-dev",
            "flux-dev",
            {"flux-dev-fast", "lowmem"},
            {"mini", "kontext-dev"},
        ),
    ],
)
def test_recipes_that_fit_the_model(
    model: str, first: str, others: set[str], none: set[str]
) -> None:
    found = fitting_recipes(model)
    assert next(iter(found)) == first
    assert others <= found.keys()
    assert not none & found.keys()


def test_a_recipe_says_what_it_is() -> None:
    assert recipe_about("plain") == (
        "A baseline: one plain LoRA trained to reconstruct the after pictures, at the published "
        "budget."
    )


def test_the_recipes_own_values_are_not_repeated() -> None:
    known = usual("mini-kontext", "mini-kontext")
    assert (known.steps, known.rank, known.find_words, known.place) == (150, 16, True, False)
    made = request("glasses", PAIRS, "mini-kontext", "mini-kontext", known)
    assert (made.base, made.recipe, made.settings, made.find_words) == (
        "mini-kontext", None, (), None,
    )  # fmt: skip


def test_what_is_changed_becomes_a_setting() -> None:
    asked = Usual(20, 8, 0.0005, find_words=False, place=True)
    made = request("glasses", PAIRS, "mini-kontext", "kontext-plain", asked, force=True)
    assert made.settings == ("steps=20", "lora.rank=8", "optim.lr=0.0005")
    assert (made.recipe, made.place, made.force) == ("kontext-plain", True, True)
    assert made.find_words is None  # the recipe looks for none either
    config = made.config()
    assert (config.steps, config.rank, config.lr, config.find_words) == (20, 8, 0.0005, False)


def test_numbers_arrive_as_they_are() -> None:
    known = usual("mini-kontext", "mini-kontext")
    made = request(
        "a", PAIRS, "mini-kontext", "mini-kontext", replace(known, steps=1_234_567, rate=5e-5)
    )
    assert made.config().steps == 1_234_567
    assert made.config().lr == 5e-5


@pytest.mark.parametrize(
    ("recipe", "change", "said"),
    [
        ("mini", {}, "The recipe 'mini' is not for mini-kontext"),
        ("../mini", {}, "is not for mini-kontext"),
        ("mini-kontext", {"steps": 0}, "steps"),
        ("mini-kontext", {"rank": -1}, "rank"),
        ("mini-kontext", {"rate": 0.0}, "lr"),
    ],
)
def test_what_cannot_work_is_refused(recipe: str, change: dict[str, float], said: str) -> None:
    asked = replace(usual("mini-kontext", "mini-kontext"), **change)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=said):
        request("a", PAIRS, "mini-kontext", recipe, asked)


def test_an_estimate_in_words() -> None:
    found = Estimate(35.2, 1_100_000_000, 8_000_000_000, 7_000_000, False, "machine")
    assert found.sentence == "About 35 s on this machine, 1.1 GB of memory, 7 MB of disk space."
    assert replace(found, words=True).sentence.endswith("Finding words comes on top.")
    small = replace(found, there=500_000_000, where="GPU")
    assert "This GPU has 500 MB: use a smaller rank" in small.sentence
    assert replace(found, seconds=None).sentence.startswith("1.1 GB of memory")


def test_the_estimate_of_a_training_grows_with_its_steps() -> None:
    known = usual("mini", "mini")
    short, long = (
        estimate(replace(made, device="cpu"))
        for steps in (10, 1000)
        for made in [request("a", PAIRS, "mini", "mini", replace(known, steps=steps))]
    )
    assert short.seconds is not None
    assert long.seconds is not None
    assert long.seconds > 10 * short.seconds
    assert short.where == "machine"
    assert not short.words
    assert 0 < short.peak < 20e9
