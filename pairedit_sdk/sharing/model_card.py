"""The page of an edit on the Hugging Face Hub, written from what its file says of itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pairedit_sdk.edits.edit_words import acting, lora_beside_words
from pairedit_sdk.edits.library import SUFFIX
from pairedit_sdk.errors import counted
from pairedit_sdk.models.families import hub_id, hub_tag, pipeline_of_architecture

if TYPE_CHECKING:
    from pairedit_sdk.edits.edit import EditInfo

#: Licences that the Hub has a word for, as people write them.
LICENCES = {
    "apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0", "openrail", "creativeml-openrail-m",
    "openrail++", "gpl-3.0", "agpl-3.0", "lgpl-3.0", "unlicense", "wtfpl",
}  # fmt: skip
_ALSO = {"cc0": "cc0-1.0", "apache-2": "apache-2.0", "mit-license": "mit"}


def model_card(
    info: EditInfo, repo_id: str, *, file: str | None = None, preview: str | None = None
) -> str:
    """The README.md of an edit's repository.

    Args:
        info: of the edit; everything that is said comes from it.
        repo_id: where the edit will be, ``OWNER/NAME``.
        file: the edit's name in the repository; ``None`` is the edit's name.
        preview: the preview picture's name in the repository, if it has one.

    Returns:
        YAML front matter and Markdown.
    """
    import yaml

    file = file or f"{info.name}{SUFFIX}"
    front = yaml.safe_dump(_front(info, preview), sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n{front}---",
        f"# {_text(info.name)}",
        _summary(info),
        *_picture(info, preview),
        "## What it is",
        _table(_facts(info)),
        *_settings(info),
        "## Use it with pairedit",
        _with_pairedit(info, repo_id, file),
        "## Use it with diffusers",
        _with_diffusers(info, repo_id, file),
    ]
    return "\n\n".join(parts) + "\n"


def _front(info: EditInfo, preview: str | None) -> dict[str, Any]:
    front: dict[str, Any] = {}
    if info.licence:
        word = re.sub(r"\s+", "-", info.licence.strip().lower())
        word = _ALSO.get(word, word)
        front["license"] = word if word in LICENCES else "other"
        if word not in LICENCES:
            front["license_name"] = " ".join(info.licence.split())
    front["library_name"] = "diffusers"
    front["pipeline_tag"] = "image-to-image"
    tag = hub_tag(info.architecture)
    front["tags"] = ["pairedit", "lora", "diffusers", *([tag] if tag else []), "image-editing"]
    model = hub_id(info.base)
    if model:
        front["base_model"] = model
        front["base_model_relation"] = "adapter"
    if preview:
        # An edit needs no words, and the Hub shows no picture without some.
        front["widget"] = [{"text": info.name, "output": {"url": preview}}]
    return front


def _summary(info: EditInfo) -> str:
    if info.parts:
        parts = ", ".join(f"{_text(name)} at {scale:g}" for name, scale in info.parts)
        made = f"the sum of several edits: {parts}."
    elif info.pairs:
        made = f"learned from {counted(len(info.pairs), 'before/after pair')}."
    else:
        made = "kept as a LoRA."
    model = f" It works on {_base(info)}." if info.base else ""
    prompt = "It needs no prompt."
    if acting(info):
        said = "; ".join(_text(words.phrase) for words in acting(info))
        prompt = f"It also tells the model: {said}."
    return (
        f"A picture edit, {made}{model} {prompt} Its strength is a number: 0 changes "
        "nothing, and a negative one goes the other way."
    )


def _picture(info: EditInfo, preview: str | None) -> list[str]:
    if preview is None:
        return []
    return [f"![What the edit does]({preview})"]


def _facts(info: EditInfo) -> list[tuple[str, str]]:
    editor = info.editor
    facts = [
        ("model", _base(info)),
        ("fingerprint of the model's weights", _text(info.base_fingerprint)),
        ("precision of the model in training", _text(info.precision)),
        ("rank", str(info.rank or "")),
        ("training steps", str(info.steps or "")),
        ("training pairs", str(len(info.pairs) or "")),
        ("resolution", f"{info.resolution} × {info.resolution}" if info.resolution else ""),
        ("guidance", f"{info.guidance:g}"),
        ("unit scale", f"{info.unit_scale:g}, which is in the weights already: use scale 1"),
        ("instruction", _words(info)),
        ("applied with FlowEdit", f"schedule of {editor.steps} steps, "
         f"{counted(editor.n_avg, 'noise')} a step, threshold {editor.threshold:g}"
         + (", with the scale limit" if editor.limit_scale else "")),
        ("created", _text(info.created)),
        ("licence", _text(info.licence)),
        ("made with", f"pairedit-sdk {_text(info.sdk_version)}" if info.sdk_version else ""),
    ]  # fmt: skip
    return [(name, value) for name, value in facts if value]


def _words(info: EditInfo) -> str:
    return "; ".join(
        f"{_text(words.phrase)}, "
        + (f"at scale {words.scale:g}" if words.scale else "a description only")
        for words in info.words
    )


def _settings(info: EditInfo) -> list[str]:
    if not info.settings:
        return []
    # The model is named above, and not with the folders of whoever trained it.
    rows = [
        (_text(key), _text(value))
        for key, value in sorted(info.settings.items())
        if key != "base" and value is not None
    ]
    return ["## Settings of the training", _table(rows)]


def _with_pairedit(info: EditInfo, repo_id: str, file: str) -> str:
    name = file.removesuffix(SUFFIX)
    model = "" if info.base in _built_in() or hub_id(info.base) else " --base BASE"
    return (
        f"```bash\npairedit edits pull {repo_id} --file {file}\n"
        f"pairedit edit photo.jpg --edit {name}=1{model} -o out.png\n"
        f"pairedit sweep photo.jpg --edit {name}{model} -o strip.png\n```"
    )


def _with_diffusers(info: EditInfo, repo_id: str, file: str) -> str:
    name = file.removesuffix(SUFFIX)
    pipeline = pipeline_of_architecture(info.architecture) or "DiffusionPipeline"
    model = hub_id(info.base)
    lines = ["import torch", f"from diffusers import {pipeline}"]
    if info.base in _built_in():
        lines += ["from pairedit_sdk.models.folders import BUILT_IN"]
        where = f'BUILT_IN["{info.base}"]'
    else:
        where = f'"{model}"' if model else '"the folder or the hub id of the model"'
    lines += [
        "",
        f"pipe = {pipeline}.from_pretrained({where}, dtype=torch.bfloat16)",
        f'pipe.load_lora_weights("{repo_id}", weight_name="{file}", adapter_name="{name}")',
        f'pipe.set_adapters("{name}", adapter_weights=0.8)',
    ]
    return (
        "```python\n" + "\n".join(lines) + f"\n```\n\n{lora_elsewhere(info)} "
        "With these lines the "
        "edit acts in all steps of the schedule; `pairedit generate` lets it act in the second "
        "half only, so that the layout of the picture stays."
    )


def lora_elsewhere(info: EditInfo) -> str:
    """What other tools make of an edit's LoRA at the same scale, compared with pairedit."""
    if not acting(info):
        return "At the same scale every weight gets the same update as in pairedit."
    alone = "Other tools load the LoRA alone, without the instruction that pairedit adds."
    share = lora_beside_words(info)
    if share == 1:
        return f"{alone} At the same scale every weight gets the same update as in pairedit."
    return (
        f"{alone} There all of the LoRA acts; beside the instruction pairedit adds {share:.3g} of "
        "what it does to a picture."
    )


def _base(info: EditInfo) -> str:
    """The model's name, without the folders that lead to it."""
    model = hub_id(info.base)
    if model:
        return f"[{model}](https://huggingface.co/{model})"
    if info.base in _built_in():
        return f"{info.base}, which is a part of pairedit-sdk"
    if re.fullmatch(r"\w[\w.-]*/[\w.-]+", info.base):  # a hub id, perhaps
        return _text(info.base)
    return _text(re.split(r"[/\\]", info.base.rstrip("/\\"))[-1])


def _built_in() -> tuple[str, ...]:
    from pairedit_sdk.models.folders import BUILT_IN

    return tuple(BUILT_IN)


def _table(rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"| {name} | {value} |" for name, value in rows]
    return "\n".join(["| | |", "|---|---|", *lines])


def _text(words: object) -> str:
    """Words of a user in which Markdown and HTML find nothing to act on, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#!~$])", r"\\\1", " ".join(str(words).split()))
