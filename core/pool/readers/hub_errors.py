"""What the hub's client raises, in one sentence that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from httpx2 import HTTPError
from huggingface_hub import errors

from core.errors import PoolError, WinnowError

RAISED = (
    errors.RevisionResolutionError,
    errors.CachedRepoTreeNotFoundError,
    errors.HFValidationError,
    HTTPError,
    OSError,
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
)
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
    """Return why the client looked into its cache, where it then found nothing."""
    while isinstance(error, errors.LocalEntryNotFoundError | errors.RevisionResolutionError) and error.__cause__:
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
        return f"The hub refuses access to {{repo}} ({status}). Log in with a token that has it: `hf auth login`."
    if status >= 500:
        return f"The hub has an error of its own ({status}). Try again later."
    return f"The hub refuses the request for {{repo}} ({status}). Check the id, the revision and the path."


def _describe_disk(error: BaseException) -> str:
    """Return what the disk refused; "" for an error of the network."""
    if not isinstance(error, OSError) or isinstance(error, ConnectionError | TimeoutError) or not error.strerror:
        return ""
    return f"{{repo}} cannot be stored in the cache of the hub's client ({error.strerror}). See HF_HOME."
