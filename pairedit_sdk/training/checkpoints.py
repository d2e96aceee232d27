"""Checkpoints of a training: everything that going on bit for bit needs.

The last few are kept, and the best, where it is known how good they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pairedit_sdk.errors import DamagedRunError, OtherRunError, RunFileError, UsageError, WriteError
from pairedit_sdk.io.files import (
    load_optimizer_tensors,
    optimizer_tensors,
    read_tensors,
    write_tensors,
)

SCHEMA = 1
KEPT = 2
OWN = "parameter/"
#: What to do after a run could not write.
TO_RESUME = "Put that right (free some disk space), and go on with the same command and --resume"
_STEP = re.compile(r"step-\d+")


@dataclass(frozen=True)
class Checkpoint:
    """One file.

    Attributes:
        path: of it.
        step: finished steps.
        fidelity: how well the training pairs are done at this step, where that was measured.
    """

    path: Path
    step: int
    fidelity: float | None


class Checkpoints:
    """``FOLDER/step-000100.safetensors``, of one run.

    Attributes:
        folder: where they are.
        kept: so many of the last ones; the one of the highest fidelity is kept besides.
        data: what the run is trained on and with, in a word; a checkpoint of another is refused.
    """

    def __init__(self, folder: Path, kept: int = KEPT) -> None:
        self.folder, self.kept, self.data = folder, kept, ""

    def saved(self) -> list[Checkpoint]:
        """All that are there, in the order of their steps.

        Raises:
            DamagedRunError: one is damaged.
        """
        return [_described(path) for path in self._all()]

    def newest(self) -> Path | None:
        """The last one that was written, if there is any."""
        there = self._all()
        return there[-1] if there else None

    def restore(
        self,
        parameters: Mapping[str, torch.nn.Parameter],
        optimizer: torch.optim.Optimizer,
        steps: int,
    ) -> int:
        """Put the newest one's state back.

        Returns:
            The number of finished steps; 0 without a checkpoint.

        Raises:
            OtherRunError: it is of other data or another version, or beyond ``steps``.
            DamagedRunError: it is damaged.
        """
        path = self.newest()
        if path is None:
            return 0
        tensors, state = _read(path)
        run = self.folder.parent
        if state["data"] != self.data:
            raise OtherRunError(
                f"The run in {run} was on other pictures, another model or in another precision",
                next_step="Put the same ones back, start over with --force, or choose another name",
            )
        if state["step"] > steps:
            raise OtherRunError(
                f"The run in {run} is at step {state['step']} already",
                got=f"steps={steps}",
                next_step="Ask for more steps, or start over with --force",
            )
        own = {k.removeprefix(OWN): v for k, v in tensors.items() if k.startswith(OWN)}
        flat = {
            k.removeprefix("optimizer/"): v
            for k, v in tensors.items()
            if k.startswith("optimizer/")
        }
        with _explained(path):
            for name, parameter in parameters.items():
                if own[name].shape != parameter.shape:
                    raise ValueError(f"{name} has another shape")
            load_optimizer_tensors(optimizer, parameters, flat)
            with torch.no_grad():
                for name, parameter in parameters.items():
                    parameter.copy_(own[name])
        return int(state["step"])

    def save(
        self,
        step: int,
        parameters: Mapping[str, torch.nn.Parameter],
        optimizer: torch.optim.Optimizer,
        fidelity: float | None = None,
    ) -> None:
        """Write everything that a resumed run needs; the last few and the best are kept.

        Raises:
            RunFileError: it could not be written.
        """
        names = {id(p): n for n, p in parameters.items()}
        tensors = {f"{OWN}{n}": p.detach() for n, p in parameters.items()}
        flat = optimizer_tensors(optimizer, names)
        tensors |= {f"optimizer/{n}": t for n, t in flat.items()}
        state = {"schema": SCHEMA, "step": step, "data": self.data, "fidelity": fidelity}
        path = self.folder / f"step-{step:06d}.safetensors"
        try:
            write_tensors(path, tensors, {"state": json.dumps(state)})
        except WriteError as error:
            raise RunFileError(
                f"The checkpoint of step {step} could not be written ({error.reason})",
                next_step=f"{TO_RESUME}; earlier checkpoints are intact",
            ) from error
        self.prune()

    def prune(self) -> None:
        """Delete all but the last few and the best."""
        older = self._all()[: -self.kept]
        if older:
            best = self._best()
            for old in older:
                if old != best:
                    old.unlink(missing_ok=True)

    def _best(self) -> Path | None:
        known = []
        for path in self._all():
            with suppress(RunFileError, UsageError):  # an old one, and no reason to stop now
                known.append(_described(path))
        known = [c for c in known if c.fidelity is not None]
        return max(known, key=lambda c: (c.fidelity or 0.0, c.step)).path if known else None

    def _all(self) -> list[Path]:
        names = self.folder.glob("step-*.safetensors")
        return sorted((p for p in names if _STEP.fullmatch(p.stem)), key=step_of)


def step_of(path: Path) -> int:
    """The number in a checkpoint's name."""
    return int(path.stem.removeprefix("step-"))


def read_state(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself, from the header alone.

    Raises:
        DamagedRunError: it is damaged.
        OtherRunError: it is of another version.
    """
    from safetensors import safe_open

    with _explained(path), safe_open(path, framework="numpy") as handle:
        return _checked(path, handle.metadata())


def read_parameters(path: Path) -> dict[str, torch.Tensor]:
    """The trained parameters of a checkpoint.

    Raises:
        DamagedRunError: it is damaged.
        OtherRunError: it is of another version.
    """
    tensors, _ = _read(path)
    return {k.removeprefix(OWN): v for k, v in tensors.items() if k.startswith(OWN)}


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    with _explained(path):
        tensors, header = read_tensors(path)
        return tensors, _checked(path, header)


def _checked(path: Path, header: Mapping[str, str]) -> dict[str, Any]:
    """The state in a checkpoint's header, if it is one of this version."""
    state = dict(json.loads(header["state"]))
    if state["schema"] != SCHEMA:
        raise OtherRunError(
            f"Checkpoint {path} was written by another version of this SDK",
            expected=f"schema {SCHEMA}",
            got=f"schema {state['schema']}",
            next_step="Begin again with the same `pairedit train` and --force in place of "
            "--resume, or install the version that wrote it",
        )
    fidelity = state.get("fidelity")
    return {
        **state,
        "step": int(state["step"]),
        "data": str(state["data"]),
        "fidelity": None if fidelity is None else float(fidelity),
    }


def _described(path: Path) -> Checkpoint:
    state = read_state(path)
    return Checkpoint(path, state["step"], state["fidelity"])


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except UsageError:
        raise
    except Exception as error:  # the readers of damaged bytes raise nearly every kind
        raise DamagedRunError(
            f"Checkpoint {path} is damaged",
            next_step="Delete it to go on from the one before, or start over with --force",
        ) from error
