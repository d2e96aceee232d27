"""From a run's metrics to its picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairedit_sdk.errors import InputError, UsageError
from pairedit_sdk.images.curves import COLOURS, LOW
from pairedit_sdk.training.run_plots import find_metrics, plot_run, read_metrics


def _write(path: Path, rows: list[dict[str, Any]], tail: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + tail)
    return path


def _row(step: int, **more: Any) -> dict[str, Any]:
    return {"step": step, "content_loss": 1 / step, "semantic_loss": 2 / step, "lr": 2e-3,
            "seconds": 0.5, **more}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return _write(tmp_path / "runs" / "hat" / "metrics.jsonl", [_row(s) for s in range(1, 31)])


def test_columns_are_what_is_in_the_lines(run: Path) -> None:
    columns = read_metrics(run)
    assert set(columns) == {"content_loss", "semantic_loss", "lr"}
    assert columns["content_loss"] == [(s, 1 / s) for s in range(1, 31)]


@pytest.mark.parametrize("tail", ['{"step": 31, "cont', '{"step"', "{}", "[]", "\n\n", "\x00\x00"])
def test_a_last_line_that_was_cut_short_is_left_out(run: Path, tail: str) -> None:
    whole = read_metrics(run)
    run.write_text(run.read_text() + tail)
    assert read_metrics(run) == whole


def test_what_is_no_number_is_left_out_and_a_step_counts_as_it_was_last(tmp_path: Path) -> None:
    rows = [
        {"step": 2, "loss": 5.0}, {"step": 1, "loss": float("nan"), "note": "x", "done": True},
        {"step": 2, "loss": 4.0, "fidelity": 0.5}, {"step": 3, "loss": None},
    ]  # fmt: skip
    path = _write(tmp_path / "metrics.jsonl", rows)
    assert read_metrics(path) == {"loss": [(2, 4.0)], "fidelity": [(2, 0.5)]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", r"jsonl holds no metrics\. Expected a line for each step\. Got an empty file"),
        ('{"step": 1, "lo', r"holds no metrics.*an empty file"),
        ('{"step": 1}\n', r"holds no metrics.*Got 1 line without a finite number"),
        ('{"step": 1}\nnonsense\n{"step": 2}\n',
         r"Line 2 of .*metrics\.jsonl cannot be read.*Got 'nonsense'"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_said(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=said):
        plot_run(path)


def test_a_run_by_name_by_folder_and_by_file(run: Path, tmp_path: Path) -> None:
    for said in ("hat", run.parent, run, str(run)):
        assert find_metrics(said, tmp_path) == run
    web = _write(tmp_path / "learned" / "runs" / "web" / "metrics.jsonl", [{"step": 1, "loss": 1}])
    assert find_metrics("web", tmp_path) == web
    with pytest.raises(UsageError, match=r"There is no run 'hta' in .*Did you mean hat\?"):
        find_metrics("hta", tmp_path)
    with pytest.raises(UsageError, match=r"There is no run 'x' in .*There is none yet"):
        find_metrics("x", tmp_path / "none")
    run.unlink()
    with pytest.raises(InputError, match=r"The run in .*hat has no metrics\.jsonl"):
        find_metrics("hat", tmp_path)


def _has(picture: Any, colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(np.asarray(picture).astype(int) - colour) < 12).all(axis=-1).any())


def test_both_losses_and_fidelity_are_shown(run: Path) -> None:
    plain = plot_run(run)
    assert _has(plain, COLOURS[0])
    assert _has(plain, COLOURS[1])
    _write(run, [_row(s, **({"fidelity": s / 40} if s % 10 == 0 else {})) for s in range(1, 31)])
    assert plot_run(run).height - plain.height > LOW


def test_a_loss_that_is_not_there_is_not_shown(run: Path) -> None:
    _write(run, [_row(s) | {"content_loss": 0.0} for s in range(1, 31)])
    assert not _has(plot_run(run), COLOURS[1])


def test_the_fidelity_of_a_run_whose_metrics_lack_it_is_that_of_its_checkpoints(run: Path) -> None:
    import torch

    from pairedit_sdk.training.checkpoints import Checkpoints

    plain = plot_run(run)
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.AdamW([parameter])
    checkpoints = Checkpoints(run.parent / "checkpoints")
    checkpoints.save(10, {"p": parameter}, optimizer, 0.25)
    checkpoints.save(20, {"p": parameter}, optimizer, 0.75)
    shown = plot_run(run)
    assert shown.height - plain.height > LOW
    (checkpoints.folder / "step-000010.safetensors").write_bytes(b"damaged")
    assert plot_run(run).tobytes() == plain.tobytes()


def test_the_settings_are_in_the_title_where_there_are_any(run: Path) -> None:
    plain = plot_run(run).tobytes()
    config = run.with_name("config.json")
    config.write_text(json.dumps({"name": "hat", "settings": {"steps": 60, "lr": 0.002}}))
    titled = plot_run(run).tobytes()
    assert titled != plain
    for damaged in ("{", "[]", '{"settings": 3}'):
        config.write_text(damaged)
        assert plot_run(run).tobytes() == plain
