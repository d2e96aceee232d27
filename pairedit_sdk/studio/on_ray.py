"""The studio's HTTP API on Ray Serve: many processes, each with the model, on one machine or many.

Ray starts the replicas, watches them, starts lost ones again, and can make them more or fewer. One
more process takes the HTTP requests and hands them on. Requests are not put together in batches:
the sums in a batch are rounded otherwise than those of one picture, and a request's answer would
depend on its neighbours.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from pairedit_sdk.errors import BaseModelError, UsageError
from pairedit_sdk.jobs.ray_cluster import LOCAL, RayWorkers, connected, require_kind, room_for
from pairedit_sdk.studio.app import api, bound_socket
from pairedit_sdk.studio.engine import Engine, LoadingOptions
from pairedit_sdk.studio.guard import Access, Guard
from pairedit_sdk.studio.routes import picture_routes
from pairedit_sdk.studio.work_queue import BOUND, TIMEOUT

if TYPE_CHECKING:
    from fastapi import FastAPI

#: What Ray calls the application.
NAME = "pairedit-studio"
PORT = 7860
#: Requests that a replica has: the one it does, and one more so that it need not wait for the next.
ONGOING = 2
#: Seconds between two looks at whether a replica is alive.
LOOK_SECONDS = 2.0
#: A model that cannot be loaded by so many processes will not be loaded by others.
STARTS = 3


class Serving(BaseModel):
    """What is served by Ray, and by how many.

    Attributes:
        library: the folder of edits, under the same path on every machine.
        loading: the model, which every replica loads.
        replicas: processes with the model.
        cpus: that each of them takes, in Ray's counting.
        gpus: the same for GPUs, and a fraction shares one; ``None`` is one where the cluster has
            any, unless the device is the CPU; in a configuration for Ray's commands it is none.
        access: who may use it.
        waiting: requests that may wait; more are refused.
        timeout: seconds that a request may take with its waiting.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    library: Path
    loading: LoadingOptions = LoadingOptions()
    replicas: int = Field(default=2, ge=1)
    cpus: float = Field(default=1.0, ge=0)
    gpus: float | None = Field(default=None, ge=0)
    access: Access = Access()
    waiting: int = Field(default=BOUND, ge=1)
    timeout: float = Field(default=TIMEOUT, gt=0)

    def resolved(self) -> Serving:
        """The same with absolute paths and with the model's name: the library may change, and a
        replica that is started later is to load the model that the others have."""
        library = self.library.expanduser().resolve()
        base = Engine(library, self.loading).model_name
        folder = Path(base).expanduser()
        base = str(folder.resolve()) if folder.is_dir() else base
        update = {"library": library, "loading": replace(self.loading, base=base)}
        return self.model_copy(update=update)


def application(serving: Serving | Mapping[str, Any]) -> Any:
    """The application for Ray Serve's own commands (``serve run``, ``serve deploy``); what their
    configuration gives as ``args`` is a :class:`Serving`.

    Raises:
        ValidationError: the configuration is wrong.
        UsageError: the device has a number.
    """
    from ray import serve

    from pairedit_sdk.studio.ray_replica import Replica

    asked = Serving.model_validate(serving).resolved()
    require_kind(asked.loading.device)
    quiet = {"log_level": "WARNING", "enable_access_log": False}
    replicas = serve.deployment(
        name="Replica",
        num_replicas=asked.replicas,
        ray_actor_options={"num_cpus": asked.cpus, "num_gpus": asked.gpus or 0},
        max_ongoing_requests=ONGOING,
        max_queued_requests=asked.waiting,
        max_constructor_retry_count=STARTS,
        health_check_period_s=LOOK_SECONDS,
        logging_config=quiet,
    )(Replica).bind(asked.library, asked.loading, asked.timeout)

    def build() -> FastAPI:
        return _ingress(asked)

    return serve.deployment(
        name="Api",
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=10_000,  # that too many wait is for the replicas' queue to say
        health_check_period_s=LOOK_SECONDS,
        logging_config=quiet,
    )(serve.ingress(build)()).bind(replicas)


@contextmanager
def serve_on_ray(
    serving: Serving, *, host: str = "127.0.0.1", port: int = PORT, address: str = LOCAL
) -> Iterator[str]:
    """Serve until the block ends; whatever was started for it is then stopped.

    Args:
        serving: what, and by how many.
        host: the address to listen on; one that other machines reach needs ``serving.access`` with
            a token or a password.
        port: to listen on; 0 takes a free one, on this machine. A Ray Serve that runs already goes
            on listening where it does, and ``host`` and ``port`` are to say so.
        address: of a running Ray ("auto", "host:port"), or "local" to start one on this machine. A
            Ray that this process is already connected to is used as it is.

    Yields:
        The address for requests, "http://127.0.0.1:7860/".

    Raises:
        UsageError: Ray is not installed or does not answer, there is no room for the replicas, or
            the port is taken.
        BaseModelError: no replica could load the model.
    """
    known = sys.modules.get("ray")
    if address == LOCAL and not (known and known.is_initialized()):
        with bound_socket(host, port) as found:  # says it clearly; Ray's proxy would not
            port = found.getsockname()[1]
    with ExitStack() as ending, connected(address) as ray, _quiet() as serve:
        crew = RayWorkers(serving.replicas, address, serving.cpus, serving.gpus)
        _, needs = room_for(ray, crew, serving.loading.device, serving.replicas)
        serving = serving.model_copy(update={"gpus": needs["num_gpus"]})
        there = serve.status()
        if NAME in there.applications:
            raise UsageError(
                f"There is a {NAME} on this Ray already",
                next_step=f"End it with `serve.delete({NAME!r})`, or choose another Ray",
            )
        if not there.proxies:
            serve.start(
                proxy_location="HeadOnly",
                http_options={"host": host, "port": port},
                logging_config={"log_level": "WARNING", "enable_access_log": False},
            )
        try:
            _run(serving)
            shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
            yield f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"
        finally:
            if there.proxies:
                serve.delete(NAME)
            else:
                # Ray calls its own end a failure, on standard output and a moment later.
                ending.enter_context(redirect_stdout(StringIO()))
                serve.shutdown()


def _run(serving: Serving) -> None:
    """Start the application, and wait until every replica has its model."""
    from ray import serve

    try:
        serve.run(application(serving), name=NAME, route_prefix="/")
    except RuntimeError as error:
        found = serve.status().applications.get(NAME)
        deployments = found.deployments.values() if found else ()
        said = "\n".join(one.message for one in deployments) or str(error)
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        named = f"{BaseModelError.__module__}.{BaseModelError.__name__}: "
        reason = next((x.partition(named)[2] for x in reversed(lines) if named in x), lines[-1])
        raise BaseModelError(
            f"No replica could begin: {reason}",
            next_step="Check that every machine has the model, and pairedit-sdk in one version",
        ) from error


def _ingress(serving: Serving) -> FastAPI:
    """The application that takes the requests, in the process that Ray keeps for it."""
    from ray import serve

    from pairedit_sdk.studio.ray_backend import RayBackend

    handle = serve.get_deployment_handle("Replica", serve.get_replica_context().app_name)
    app = api()
    model = serving.loading.base or ""
    app.include_router(picture_routes(RayBackend(handle, model, serving.timeout)))
    app.add_middleware(Guard, access=serving.access)
    return app


@contextmanager
def _quiet() -> Iterator[Any]:
    """Ray Serve, whose logger writes to this process's output, but only what goes wrong."""
    import logging

    from ray import serve

    logger = logging.getLogger("ray.serve")  # has its level from the import
    before = logger.level
    logger.setLevel("ERROR")
    try:
        yield serve
    finally:
        logger.setLevel(before)
