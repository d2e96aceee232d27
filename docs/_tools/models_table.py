"""The tables of docs/models.md: what each published model takes, estimated from its configuration.

    python -m docs._tools.models_table            # writes them; a few minutes

Each table is between two comments of the page. Licences and gates are facts that no configuration
holds; they are kept here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from pairedit_sdk.estimates.needs import editing_needs, training_needs
from pairedit_sdk.estimates.weights import autoencoder, text_bytes, transformer_bytes
from pairedit_sdk.jobs.make_edit import recipe_for
from pairedit_sdk.models.families import ALIASES
from pairedit_sdk.models.kinds import is_edit_model
from pairedit_sdk.training.config import TrainConfig, load_recipe

PAGE = Path(__file__).resolve().parents[1] / "models.md"
#: Memory of the usual cards, in GB.
CARDS = (8, 12, 16, 24, 32, 40, 48, 80, 96, 141)
SIDES = (512, 1024)
APACHE, FLUX = "Apache-2.0", "FLUX.1-dev Non-Commercial"


@dataclass(frozen=True)
class Model:
    """A published model.

    Attributes:
        name: for people.
        train: the short name of the one to train on.
        use: short names of those of the same size that its edits are used on.
        licence: by its usual name.
        gated: whether the Hub asks for an account that has accepted the licence.
    """

    name: str
    train: str
    use: tuple[str, ...]
    licence: str
    gated: bool = False


MODELS = (
    Model("FLUX.2-klein 4B", "klein-base-4b", ("klein-4b",), APACHE),
    Model("FLUX.2-klein 9B", "klein-base-9b", ("klein-9b",), "FLUX Non-Commercial", True),
    Model("FLUX.2-dev", "flux2-dev", (), "FLUX.2-dev Non-Commercial", True),
    Model("Z-Image", "z-image", ("z-image-turbo",), APACHE),
    Model("Qwen-Image", "qwen-image", (), APACHE),
    Model("Qwen-Image-Edit-2511", "qwen-image-edit", (), APACHE),
    Model("Chroma1-HD", "chroma", (), APACHE),
    Model("FLUX.1-dev", "flux-dev", (), FLUX, True),
    Model("FLUX.1-schnell", "flux-schnell", (), APACHE, True),
    Model("FLUX.1-Kontext-dev", "kontext-dev", (), FLUX, True),
)


def page(text: str) -> str:
    """The page's text with its tables written anew."""
    for name, rows in (("models", models()), ("memory", memory())):
        table = "\n".join(rows)
        text, found = re.subn(
            rf"(<!-- {name}: .*? -->\n\n).*?(\n\n<!-- end -->)",
            lambda match, table=table: match[1] + table + match[2],  # type: ignore[misc]
            text,
            flags=re.DOTALL,
        )
        assert found == 1, name
    return text


def models() -> Iterator[str]:
    """What is known of each model, under a head."""
    yield (
        "| model | `--base` to train on | to use on | licence | gated | sees the picture "
        "| parameters | download in bf16 | recipe |"
    )
    yield "|" + "---|" * 9
    yield from map(about, MODELS)


def about(model: Model) -> str:
    """A model's row of :func:`models`."""
    name = ALIASES[model.train]
    used = ", ".join(f"`{other}`" for other in (*model.use, model.train))
    weights = transformer_bytes(name, "bf16", torch.bfloat16)[0]
    vae = autoencoder(name, torch.bfloat16, 64)[0]
    whole = weights + vae + text_bytes(name, torch.bfloat16)
    cells = (
        f"[{model.name}](https://huggingface.co/{name})",
        f"`{model.train}`",
        used,
        model.licence,
        "yes" if model.gated else "no",
        "yes" if is_edit_model(name) else "no",
        f"{weights / 2e9:.1f} B",
        f"{whole / 1e9:.0f} GB",
        f"`{recipe_for(name)}`",
    )
    return f"| {' | '.join(cells)} |"


def memory() -> Iterator[str]:
    """Peaks and cards, under a head: a row for every model and precision."""
    heads = [f"{what} at {side}²" for what in ("train", "edit") for side in SIDES]
    yield f"| model | weights in | {' | '.join(heads)} |"
    yield "|" + "---|" * 6
    for model in MODELS:
        yield from peaks(model)


def peaks(model: Model) -> Iterator[str]:
    """A model's rows of :func:`memory`, the precision of its recipe in bold type."""
    name = ALIASES[model.train]
    recipe = load_recipe(recipe_for(name))
    for precision in ("bf16", "nf4"):
        config = recipe.with_values(base=name, precision=precision)
        shown = f"**{precision}**" if precision == recipe.precision else precision
        needed = [
            needs(name, side_of(config, side), "cuda").peak
            for needs in (training_needs, editing_needs)
            for side in SIDES
        ]
        cells = [f"{peak / 1e9:.1f} → {card(peak)}" for peak in needed]
        yield f"| {model.name} | {shown} | {' | '.join(cells)} |"


def side_of(config: TrainConfig, side: int) -> TrainConfig:
    """The settings for pictures of another size, of which large ones are drawn one at a time."""
    changed = config.with_values(resolution=side)
    if side > SIDES[0]:
        changed = changed.with_values(batch=1, accumulate=config.batch * config.accumulate)
    return changed


def card(peak: int) -> str:
    """The smallest usual card with so many bytes."""
    return next((str(size) for size in CARDS if peak <= size * 1e9), "none")


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
