"""Look at one edit at several strengths.

Run: python examples/sweep.py [STEPS]
"""

import sys
from pathlib import Path

import pairedit_sdk as pe
from pairedit_sdk.images.plots import strip

HERE = Path(__file__).parent
PICTURE = HERE / "pairs" / "lipstick" / "source" / "3.png"
EDIT = HERE / "edits" / "hat.safetensors"
SCALES = [0, 0.25, 0.5, 0.75, 1]
STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else None  # what the edit needs

base = pe.load_model("mini")  # the model that this edit was learned on
edit = pe.Edit.load(EDIT)
pictures = pe.sweep(base, pe.read_image(PICTURE), edit, SCALES, steps=STEPS)
strip(pictures, [f"{scale:g}" for scale in SCALES], title=edit.name).save("sweep.png")
print("saved sweep.png")
