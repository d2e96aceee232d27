"""What goes wrong between this machine and the Hugging Face Hub, as one error each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from pairedit_sdk.errors import HubError, PairEditError

LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


@contextmanager
def explained(
    repo_id: str, revision: str | None = None, *, writing: bool = False
) -> Iterator[None]:
    """Turn what huggingface_hub raises within the block into one error that says what to do.

    Args:
        repo_id: the repository that is asked for.
        revision: of it, as the user said it.
        writing: whether it is written to.

    Raises:
        HubError: for all but errors of this machine's own disk.
    """
    try:
        yield
    except PairEditError:
        raise
    except Exception as error:  # its HTTP client has changed twice, and its errors with it
        raise _in_words(error, repo_id, revision, writing) from error


def _in_words(error: BaseException, repo_id: str, revision: str | None, writing: bool) -> Exception:
    from huggingface_hub import errors

    if isinstance(error, RuntimeError | errors.LocalEntryNotFoundError) and error.__cause__:
        return _in_words(
            error.__cause__, repo_id, revision, writing
        )  # it only says where that happened
    where = os.environ.get("HF_ENDPOINT") or "the Hugging Face Hub"
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return HubError(
            f"{repo_id} cannot be reached: offline mode is on",
            next_step="Unset HF_HUB_OFFLINE (and TRANSFORMERS_OFFLINE)",
        )
    if isinstance(error, errors.GatedRepoError):
        return HubError(
            f"{repo_id} is gated", next_step=f"Accept its conditions on its page, and {LOG_IN}"
        )
    if isinstance(error, errors.HFValidationError):
        return HubError(
            f"{repo_id!r} cannot be the name of a repository",
            expected="OWNER/NAME",
            next_step="For example me/glasses",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return HubError(
            f"{repo_id} has no revision {revision or 'main'}",
            expected="a branch, a tag or a commit",
            next_step="See the history on its page",
        )
    if isinstance(error, errors.EntryNotFoundError):
        return HubError(f"A file of {repo_id} is gone", next_step="Try again")
    if status == 401 and not _anonymous():
        return HubError(
            f"The Hub does not accept your login for {repo_id}",
            next_step=f"Check the name, and {LOG_IN} with a token that is still valid",
        )
    if isinstance(error, errors.RepositoryNotFoundError) or status in (401, 404):
        return HubError(
            f"There is no repository {repo_id} that you may see",
            next_step=f"Check the name; if it is private or to be made, {LOG_IN}",
        )
    if status == 403:
        if not writing:
            return HubError(
                f"You may not read {repo_id}",
                next_step=f"Use a token with the right to read it: {LOG_IN}",
            )
        return HubError(
            f"You may not write to {repo_id}",
            next_step=f"Use a token with the right to write, or an owner that is yours: {LOG_IN}",
        )
    if status is not None:
        said = getattr(error, "server_message", None) or str(error).split("\n")[0]
        return HubError(
            f"{where} answered {status} for {repo_id} ({said})", next_step="Try again later"
        )
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ConnectionError):
        return error  # of this machine: a full disk, a folder that is not to be written to
    reason = " ".join(str(error).split())[:200]
    return HubError(
        f"{where} cannot be reached for {repo_id} ({type(error).__name__}: {reason})",
        next_step="Check the network and the proxy, and HF_ENDPOINT if it is set",
    )


def _anonymous() -> bool:
    from huggingface_hub import get_token

    return get_token() is None
