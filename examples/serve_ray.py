"""Serve a library of edits with two replicas on this machine, and ask for four pictures at once.

Needs pip install 'pairedit-sdk[ray,studio]'.
Run: python examples/serve_ray.py [STEPS]
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx  # comes with the extra studio

from pairedit_sdk.studio.on_ray import Serving, serve_on_ray

HERE = Path(__file__).parent
PICTURE = (HERE / "pairs" / "lipstick" / "source" / "3.png").read_bytes()
STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else None  # what the edit needs


def ask(url: str, scale: float) -> Path:
    """Ask for one picture, and save it."""
    request = {"edits": [{"name": "hat", "scale": scale}], "steps": STEPS}
    answer = httpx.post(
        f"{url}api/edit",
        files={"image": PICTURE},
        data={"request": json.dumps(request)},
        timeout=300,
    )
    answer.raise_for_status()
    path = Path(f"hat-{scale:g}.png")
    path.write_bytes(answer.content)
    return path


with (
    serve_on_ray(Serving(library=HERE / "edits", replicas=2), port=0) as url,
    ThreadPoolExecutor() as clients,
):
    print(httpx.get(f"{url}api/health").json())
    for path in clients.map(lambda scale: ask(url, scale), [0.25, 0.5, 0.75, 1]):
        print("saved", path)
