"""What the hub's client raises, in one sentence that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from httpx2 import HTTPError
from huggingface_hub import errors

from core.errors import PoolError, WinnowError

TRANSFERS = (RuntimeError, errors.XetDownloadError)  # of the client's own transport
RAISED = (
    *(errors.RevisionResolutionError, errors.CachedRepoTreeNotFoundError, errors.HFValidationError),
    *(HTTPError, OSError, *TRANSFERS),
)
SENTENCES = (  # the first that fits
    (errors.GatedRepoError, "{repo} is gated. Accept its terms on the hub, and log in with `hf auth login`."),
    (errors.DisabledRepoError, "The hub has disabled {repo}. Give another dataset."),
    (
        errors.RepositoryNotFoundError,
        "The hub has no dataset {repo}, or it is private. Check the id; if it is private, log in with `hf auth login`.",
    ),
    (errors.RevisionNotFoundError, "{repo} has no revision {revision}. Give a branch, a tag or a whole commit of it."),
    (errors.RemoteEntryNotFoundError, "The hub lacks a file of {repo} at revision {revision}. Give another revision."),
    (errors.HFValidationError, "{repo} is no id on the hub. Write it as owner/name."),
    (TRANSFERS, "The hub's client could not transfer a file of {repo}. Run the command again; HF_DEBUG=1 tells more."),
)
REFUSED = "The hub refuses access to {repo}. Log in with a token that has it: `hf auth login`."
UNREACHABLE = (
    "The hub cannot be reached, and its cache on this computer lacks {repo} or a file of it. Go online; or run "
    "`hf download {repo} --repo-type dataset` on another computer, and give the folder."
)


@contextmanager
def hub_errors(
    repo: str, revision: str | None = None, *, unreachable: str = UNREACHABLE, error_type: type[WinnowError] = PoolError
) -> Iterator[None]:
    """Turn what the hub's client raises into an error of one sentence. `unreachable`: what to say without a network."""
    try:
        yield
    except RAISED as error:
        cause = _find_cause(error)
        sentence = next((words for kind, words in SENTENCES if isinstance(cause, kind)), None)
        sentence = sentence or _describe_status(cause) or _describe_disk(cause) or unreachable
        raise error_type(sentence.format(repo=repo, revision=revision or "main")) from error


def _find_cause(error: BaseException) -> BaseException:
    """Return why the client looked into its cache, where it then found nothing, or why it could not transfer a file."""
    while isinstance(error, (*TRANSFERS, errors.LocalEntryNotFoundError, errors.RevisionResolutionError)):
        if not error.__cause__:
            break
        error = error.__cause__
    return error


def _describe_status(error: BaseException) -> str:
    if not isinstance(error, errors.HfHubHTTPError):
        return ""
    status = error.response.status_code
    if status == 429:
        seconds = error.response.headers.get("Retry-After", "")
        when = f"in {seconds} s" if seconds.isdecimal() else "in some minutes"
        return f"The hub limits the rate of requests, and this one was too many. Try again {when}, or log in first."
    if status in (401, 403):
        return REFUSED
    if status == 412:
        return "{repo} was changed by somebody else in the meantime. Run the command again."
    if status >= 500:
        return f"The hub has an error of its own ({status}). Try again later."
    return f"The hub refuses the request for {{repo}} ({status}). Check the id, the revision and the path."


def _describe_disk(error: BaseException) -> str:
    """Return what the disk refused; "" for an error of the network."""
    if isinstance(error, PermissionError) and not error.strerror:
        return REFUSED  # of the hub's store of files
    if not isinstance(error, OSError) or isinstance(error, ConnectionError | TimeoutError) or not error.strerror:
        return ""
    return f"{{repo}} cannot be stored in the cache of the hub's client ({error.strerror}). See HF_HOME."
