"""Whether a training uses a run folder, told by its lock alone."""

import subprocess
import sys
import threading
import time

from pairedit_sdk.training.run_lock import LOCK, is_locked, run_lock

HOLDING = """
import sys
from pathlib import Path
from pairedit_sdk.training.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_of_this_process(tmp_path):
    assert not is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []  # asking leaves nothing
    with run_lock(tmp_path):
        assert is_locked(tmp_path)
    assert (tmp_path / LOCK).is_file()
    assert not is_locked(tmp_path)


def test_a_lock_of_a_process_that_is_killed(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stdout.readline() == b"held\n"
        assert is_locked(tmp_path)
        process.kill()
    assert not is_locked(tmp_path)


def test_asking_keeps_no_training_from_its_folder(tmp_path):
    """Nor do two that ask at once take each other for one."""
    (tmp_path / LOCK).touch()
    found, over = [], threading.Event()

    def ask():
        while not over.is_set():
            found.append(is_locked(tmp_path))

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    time.sleep(0.1)
    seen = list(found)
    for _ in range(50):
        with run_lock(tmp_path):
            pass
    over.set()
    for asker in askers:
        asker.join()
    assert seen
    assert not any(seen)
