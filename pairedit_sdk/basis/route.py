"""What an analogy was found to mean: a stack of edits, and why."""

from __future__ import annotations

from collections.abc import Sequence

from pairedit_sdk.edits.edit import Edit, EditStack


class Route(EditStack):
    """What an analogy was found to mean: a stack of edits, and why.

    Attributes:
        similarities: of every edit that was considered, the highest first.
        known: whether the analogy is like anything in the basis, and the mix does anything.
        threshold: the similarity below which it is not.

    A mix is one LoRA and costs what one edit costs, so on a picture its parts are merged.
    """

    default_mode = "merged"

    def __init__(
        self, parts: Sequence[tuple[Edit, float]], similarities: dict[str, float], threshold: float
    ) -> None:
        super().__init__(parts)
        self.similarities, self.threshold = similarities, threshold
        self.known = not self.is_zero and max(similarities.values()) >= threshold

    def __matmul__(self, scale: float) -> Route:
        return Route(super().__matmul__(scale).parts, self.similarities, self.threshold)

    @property
    def coefficients(self) -> dict[str, float]:
        """The scale of every edit in the mix."""
        return {edit.name: scale for edit, scale in self.parts}

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        nearest_ones = ", ".join(f"{n} {s:.2f}" for n, s in list(self.similarities.items())[:3])
        if not self.known:
            return (
                f"This analogy is like none of the edits (nearest: {nearest_ones}; "
                f"edits of this basis reach {self.threshold:.2f})."
            )
        mixed = " + ".join(f"{name} {scale:.2f}" for name, scale in self.coefficients.items())
        return f"{mixed} (similarities: {nearest_ones})."
