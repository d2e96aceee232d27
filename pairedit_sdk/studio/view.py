"""What a page shows, as its address has it: so that nothing is lost when it is loaded again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pairedit_sdk.edits.library import check_name
from pairedit_sdk.errors import UsageError

TABS = ("edit", "train", "compose", "library")


@dataclass(frozen=True)
class View:
    """What a page shows.

    Attributes:
        tab: one of :data:`TABS`.
        picture: the key of the picture that is edited, or "".
        scales: of the chosen edits, by name.
        instructions: scales of the chosen instructions, by phrase.
        seed: of the noise.
        run: the name of the training that is looked at, or "".
    """

    tab: str = "edit"
    picture: str = ""
    scales: Mapping[str, float] = field(default_factory=dict)
    instructions: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    run: str = ""

    def query(self) -> dict[str, str]:
        """As the parameters of an address; what is not said is left out."""
        said = {
            "tab": "" if self.tab == TABS[0] else self.tab,
            "picture": self.picture,
            "edits": ",".join(f"{name}:{scale:g}" for name, scale in self.scales.items()),
            "say": "|".join(
                f"{phrase.replace('|', ' ')}:{scale:g}"
                for phrase, scale in self.instructions.items()
            ),
            "seed": f"{self.seed}" if self.seed else "",
            "run": self.run,
        }
        return {key: value for key, value in said.items() if value}

    @classmethod
    def of_query(cls, query: Mapping[str, Any]) -> View:
        """From an address. What cannot be read is taken as not said: somebody else may have
        written it."""
        tab = str(query.get("tab", ""))
        seed = str(query.get("seed", ""))
        return cls(
            tab=tab if tab in TABS else TABS[0],
            picture=str(query.get("picture", "")),
            scales={
                name: scale
                for name, scale in _scaled(str(query.get("edits", "")), ",")
                if _is_name(name)
            },
            instructions=dict(_scaled(str(query.get("say", "")), "|")),
            seed=int(seed) if seed.isascii() and seed.isdigit() and len(seed) < 10 else 0,
            run=run if _is_name(run := str(query.get("run", ""))) else "",
        )


def _scaled(text: str, separator: str) -> list[tuple[str, float]]:
    found = []
    for part in text.split(separator)[:32]:
        name, _, number = part.rpartition(":")
        try:
            scale = float(number)
        except ValueError:
            continue
        if name.strip() and math.isfinite(scale) and abs(scale) <= 10:
            found.append((name.strip(), scale))
    return found


def _is_name(text: str) -> bool:
    try:
        check_name(text)
    except UsageError:
        return False
    return True
