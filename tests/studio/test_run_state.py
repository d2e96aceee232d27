"""What the folder of a run tells, whatever state its files are in."""

import json

import pytest

from pairedit_sdk.studio.run_state import POINTS, read_run, thinned


def _run(folder, lines, **settings):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"name": "x", "settings": settings}))
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return folder


def _line(step, content=0.5, semantic=0.25, seconds=2.0):
    return json.dumps(
        {"step": step, "content_loss": content, "semantic_loss": semantic, "seconds": seconds}
    )


def test_a_run(tmp_path):
    run = _run(tmp_path, [_line(1, seconds=9), _line(2), _line(3, semantic=0.5)], steps=7)
    (run / "previews").mkdir()
    for name in ("step-000010.png", "step-000009.png", "step-9.part.png", "other.png"):
        (run / "previews" / name).touch()
    state = read_run(run)
    assert (state.step, state.steps, state.seconds_per_step) == (3, 7, 2.0)
    assert state.losses == ((1, 0.75), (2, 0.75), (3, 1.0))
    assert [path.name for path in state.previews] == ["step-000009.png", "step-000010.png"]
    assert state.begun == pytest.approx((run / "config.json").stat().st_mtime)


def test_the_pace_is_that_of_recent_steps(tmp_path):
    slow = [_line(step, seconds=5) for step in range(1, 30)]
    quick = [_line(step, seconds=1) for step in range(30, 60)]
    assert read_run(_run(tmp_path, slow + quick, steps=100)).seconds_per_step == 1


def test_a_step_that_was_done_again_counts_as_the_last_time(tmp_path):
    lines = [_line(1), _line(2), _line(2, content=0, semantic=0.1), _line(3), '{"step": 4, "cont']
    assert read_run(_run(tmp_path, lines)).losses == ((1, 0.75), (2, 0.1), (3, 0.75))


@pytest.mark.parametrize(
    "line",
    ["", "[]", "null", "3", '{"step": null}', '{"step": 1e999}', "[" * 100_000, "\x00", '{"st'],
)
def test_a_damaged_line_is_passed_over(tmp_path, line):
    state = read_run(_run(tmp_path, [line, _line(1)], steps="many"))
    assert (state.step, state.steps, state.losses) == (1, 0, ((1, 0.75),))


def test_a_loss_that_is_no_number_is_left_out(tmp_path):
    line = '{"step": 2, "content_loss": NaN, "semantic_loss": null, "seconds": true}'
    state = read_run(_run(tmp_path, [_line(1), line]))
    assert (state.step, state.losses, state.seconds_per_step) == (2, ((1, 0.75),), 2.0)


def test_new_lines_are_seen(tmp_path):
    run = _run(tmp_path, [_line(1)])
    assert read_run(run).step == 1
    with (run / "metrics.jsonl").open("a") as handle:
        handle.write(_line(2) + "\n")
    assert read_run(run).step == 2


def test_a_checkpoint_tells_the_step_where_the_metrics_are_lost(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-000012.safetensors").touch()
    assert read_run(tmp_path).step == 12


def test_a_folder_with_nothing_but_a_lock_is_no_run(tmp_path):
    (tmp_path / "run.lock").touch()
    assert read_run(tmp_path) is None
    assert read_run(tmp_path / "none") is None


@pytest.mark.parametrize("count", [0, 1, POINTS, POINTS + 1, 7 * POINTS + 3])
def test_thinned_keeps_the_mean_and_the_last_step(count):
    points = [(step, float(step)) for step in range(1, count + 1)]
    found = thinned(points)
    assert len(found) <= POINTS
    assert [step for step, _ in found[-1:]] == [step for step, _ in points[-1:]]
    if count <= POINTS:
        assert list(found) == points
    if count % POINTS == 3:
        assert found[0] == (8, 4.5)  # the mean of eight steps
