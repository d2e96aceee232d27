"""``pairedit studio``: the page with sliders, and the HTTP API."""

from __future__ import annotations

import secrets
import webbrowser
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from pairedit_sdk.cli import options, values
from pairedit_sdk.cli.output import Output
from pairedit_sdk.errors import UsageError

if TYPE_CHECKING:
    from pairedit_sdk.studio.guard import Access

PORT = 7860


def studio(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")
    ] = PORT,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            help="The address to listen on. One that other machines reach needs --auth, or gets a "
            "token, which is printed.",
        ),
    ] = "127.0.0.1",
    auth: Annotated[
        str | None,
        typer.Option(
            "--auth", metavar="USER:PASSWORD", envvar="PAIREDIT_AUTH", help="Ask for a password."
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="PAIREDIT_TOKEN",
            help="Ask for this token, or for one that is drawn with --token auto.",
        ),
    ] = None,
    page: Annotated[
        bool, typer.Option("--page/--no-page", help="The page, or the HTTP API alone.")
    ] = True,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    waiting: Annotated[
        int, typer.Option("--waiting", min=1, help="Requests that may wait; more are refused.")
    ] = 64,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, help="Seconds that a request may take.")
    ] = 600.0,
    replicas: Annotated[
        int | None,
        typer.Option(
            "--replicas",
            min=1,
            help="The HTTP API alone, on Ray: by so many processes that each load the model.",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            help="With --replicas: address of a running cluster, or auto. Without it: RAY_ADDRESS, "
            "else a Ray on this machine.",
        ),
    ] = None,
    base: options.Base = None,
    library: options.Library = options.DEFAULT_LIBRARY,
    device: options.Device = None,
    precision: options.Precision = None,
    offload: options.Offload = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Open a page on which edits are trained, tried and combined.

    The same is served as an HTTP API under /api. The model is loaded once. Nothing is sent to other
    machines, and only this machine can open the page unless --host says otherwise.
    """
    output = Output(as_json, quiet)
    device = values.device(device)
    require_studio()
    if address is not None and replicas is None:
        raise UsageError("--address needs --replicas", next_step="Say how many replicas to start")

    from pairedit_sdk.studio.app import bound_socket, build_app, serve
    from pairedit_sdk.studio.engine import LoadingOptions
    from pairedit_sdk.studio.service import Service

    access = _access(host, auth, token)
    loading = LoadingOptions(base, device, precision or "auto", offload)
    if replicas is not None:
        from pairedit_sdk.cli.studio_on_ray import serve_replicas
        from pairedit_sdk.edits.library import EditLibrary
        from pairedit_sdk.studio.on_ray import Serving

        serving = Serving(
            library=EditLibrary.local(library).folder,
            loading=loading,
            replicas=replicas,
            access=access,
            waiting=waiting,
            timeout=timeout,
        )
        serve_replicas(serving, host, port, address, output)
        return
    listening = bound_socket(host, port)
    service = Service(library, loading, bound=waiting, timeout=timeout)
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    address = f"http://{f'[{shown}]' if ':' in shown else shown}:{listening.getsockname()[1]}/"
    address += "" if access.token is None else f"?token={quote(access.token, safe='')}"

    def ready() -> None:
        output.say(f"The studio is at {address}\nCtrl-C ends it.")
        output.line({"url": address, "library": library, "model": service.engine.model_name})
        if open_page:
            webbrowser.open(address)

    try:
        serve(build_app(service, access, page=page), listening, ready)
    except KeyboardInterrupt:  # what ends it; everything is closed by now
        output.say("The studio has ended.")
    finally:
        service.close()


def require_studio() -> None:
    """Refuse to go on without the extra.

    Raises:
        UsageError: it is not installed.
    """
    from importlib.util import find_spec

    missing = [name for name in ("fastapi", "uvicorn", "gradio") if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"The studio needs {', '.join(missing)}",
            next_step="Install it with `pip install 'pairedit-sdk[studio]'`",
        )


def _access(host: str, auth: str | None, token: str | None) -> Access:
    """Who may use a studio that listens there.

    Raises:
        UsageError: ``auth`` is no name with a password, or the token is empty.
    """
    from pairedit_sdk.studio.guard import LOOPBACK, Access

    user, _, password = (auth or "").partition(":")
    if auth is not None and not (user and password):
        raise UsageError("--auth names no user with a password", expected="USER:PASSWORD")
    is_local = host in ("localhost", "::1") or host.startswith("127.")
    if token == "auto" or (token is None and auth is None and not is_local):
        token = secrets.token_urlsafe(24)
    if token is not None:
        token = token.strip()  # a header cannot have spaces at its ends
        if not token:
            raise UsageError("--token is empty", expected="a token, or auto")
    # Others know this machine by names that nobody here knows; the token is what they must have.
    hosts = tuple(dict.fromkeys((*LOOPBACK, host.lower()))) if is_local else ()
    return Access(hosts, token, user or None, password or None)
