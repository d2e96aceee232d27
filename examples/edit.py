"""Apply a saved edit to a picture.

Run: python examples/edit.py [STEPS]
"""

import sys
from pathlib import Path

import pairedit_sdk as pe

HERE = Path(__file__).parent
PICTURE = HERE / "pairs" / "age" / "source" / "1.png"
EDIT = HERE / "edits" / "hat.safetensors"
SCALE = 1.0  # 0 changes nothing, 1 is what the pairs show
STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else None  # what the edit needs

base = pe.load_model("mini")  # the model that this edit was learned on
hat = pe.Edit.load(EDIT)
# Several edits are added: hat @ 1.0 + glasses @ 1.0
picture = pe.edit_image(base, pe.read_image(PICTURE), hat @ SCALE, steps=STEPS)
picture.save("edited.png")
print("saved edited.png")
