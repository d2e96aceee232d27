"""The embeddings of prompts, computed once; those of large text encoders are kept on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.io.files import cache_folder
from pairedit_sdk.io.tensor_cache import is_current, key, read_kept, write_kept
from pairedit_sdk.lora.holding import holding
from pairedit_sdk.models.folders import BUILT_IN
from pairedit_sdk.models.protocol import Condition

if TYPE_CHECKING:
    from pairedit_sdk.models.protocol import FlowModel


@holding
def prompt_condition(model: FlowModel, prompt: str) -> Condition:
    """The prompt's embeddings; for large text encoders they are also kept on disk.

    Loading FLUX.1's text encoders takes far longer than an edit, and nearly every call needs only
    the empty prompt.
    """
    return each_condition(model, [prompt])[0]


@holding
def each_condition(model: FlowModel, prompts: Sequence[str]) -> list[Condition]:
    """:func:`prompt_condition` of a few prompts, with the text encoders loaded once for those that
    are new.

    They stay in the model's memory; see :func:`prompt_conditions` for a data set's.
    """
    made = {}
    for prompt in [] if model.name in BUILT_IN else dict.fromkeys(prompts):
        if model.knows(prompt):
            continue
        path = _prompt_path(model, prompt)
        kept = _read_condition(path)
        if kept is not None:
            model.remember(prompt, kept)
        else:
            made[path] = model.condition(prompt)
    if made:
        # They are larger than some transformers: not to be kept beside one.
        model.release_text_encoders()
    for path, condition in made.items():
        with suppress(OSError):  # an unwritable home costs time, not the edit
            _write_condition(path, condition)
    return [model.condition(prompt) for prompt in prompts]


@holding
def prompt_conditions(model: FlowModel, prompts: Iterable[str]) -> Mapping[str, Condition]:
    """The embeddings of many prompts, with the text encoders loaded once, and released after it.

    Those of large text encoders (4 MiB each with FLUX.1) stay on disk, and are read when they are
    asked for: a data set has more captions than fit into memory.

    Raises:
        WriteError: they cannot be written there.
    """
    prompts = sorted(set(prompts))
    if model.name in BUILT_IN:
        return {prompt: model.condition(prompt) for prompt in prompts}
    paths = {prompt: _prompt_path(model, prompt) for prompt in prompts}
    for prompt, path in paths.items():
        if not is_current(path):
            _write_condition(path, model.condition(prompt))
            model.forget(prompt)
    model.release_text_encoders()
    return _OnDisk(model, paths)


class _OnDisk(Mapping[str, Condition]):
    """Embeddings by their prompt, read from files."""

    def __init__(self, model: FlowModel, paths: Mapping[str, Path]) -> None:
        self._base, self._paths = model, paths

    def __getitem__(self, prompt: str) -> Condition:
        path = self._paths[prompt]
        kept = _read_condition(path)
        if kept is None:  # it was there when the training began
            with self._base.lock:
                kept = self._base.condition(prompt)
                self._base.forget(prompt)
                self._base.release_text_encoders()
            _write_condition(path, kept)
        return kept

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def _prompt_path(model: FlowModel, prompt: str) -> Path:
    name = key("prompt", model.text_fingerprint, str(model.dtype), prompt)
    return cache_folder() / f"prompt-{name}.safetensors"


def _read_condition(path: Path) -> Condition | None:
    kept = read_kept(path)
    return Condition.from_tensors(kept) if kept and "prompt_embeds" in kept else None


def _write_condition(path: Path, made: Condition) -> None:
    write_kept(path, made.tensors())
