"""Learn an edit from three pairs and save it.

Run: python examples/train.py [STEPS]
"""

import sys
from pathlib import Path

import pairedit_sdk as pe

PAIRS = Path(__file__).parent / "pairs" / "glasses"
LIBRARY = pe.EditLibrary("edits")
SETTINGS = [f"steps={sys.argv[1]}"] if len(sys.argv) > 1 else []

model = pe.load_model()  # or "black-forest-labs/FLUX.1-dev", with the recipe "flux-dev"
pairs = pe.PairSet.from_folder(PAIRS)
for report in pe.check_pairs(pairs):
    print(f"pair {report.name}: {report.verdict}, {report.changed_area:.0%} of the picture changes")

edit = pe.train(model, pairs, pe.load_recipe("mini-kontext", SETTINGS), name="glasses")
print(f"saved {LIBRARY.save(edit, replace=True)}")
