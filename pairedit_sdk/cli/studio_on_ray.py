"""``pairedit studio --replicas N``: the HTTP API on Ray Serve."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING
from urllib.parse import quote

from pairedit_sdk.cli.output import Output
from pairedit_sdk.jobs.ray_cluster import LOCAL
from pairedit_sdk.studio.on_ray import serve_on_ray
from pairedit_sdk.training.interrupts import terminable

if TYPE_CHECKING:
    from pairedit_sdk.studio.on_ray import Serving


def serve_replicas(
    serving: Serving, host: str, port: int, address: str | None, output: Output
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        serving: what, and by how many.
        host: to listen on.
        port: to listen on; 0 takes a free one.
        address: of a running Ray; ``None`` is RAY_ADDRESS, or one on this machine.
        output: where the address is said.

    Raises:
        UsageError, BaseModelError: as :func:`pairedit_sdk.studio.on_ray.serve_on_ray`.
    """
    where = address or os.environ.get("RAY_ADDRESS") or LOCAL
    output.say(f"Starting {serving.replicas} processes with the model each …")
    try:
        # Within, as Ray has its own answer to SIGTERM, which ends at once.
        with serve_on_ray(serving, host=host, port=port, address=where) as url, terminable():
            token = serving.access.token
            named = "" if token is None else f", with the header 'Authorization: Bearer {token}'"
            output.say(f"The HTTP API is at {url}api{named}\nCtrl-C ends it.")
            url += "" if token is None else f"?token={quote(token, safe='')}"
            output.line({"url": url, "library": str(serving.library), "replicas": serving.replicas})
            threading.Event().wait()
    except KeyboardInterrupt:  # what ends it; everything is closed by now
        output.say("The HTTP API has ended.")
