"""Every error Seedbed raises on purpose.

    SeedbedError
    ├── ConfigError                 a setting is wrong                       (ValueError)
    ├── InputError                  a file or argument of the user's is wrong (ValueError)
    │   └── MissingFileError        … or is not there                        (FileNotFoundError)
    ├── WorkspaceHeldError          another process writes this workspace    (BlockingIOError)
    ├── ServiceError                a running service refuses a request      (RuntimeError)
    │   └── ServiceUnreachableError … or does not answer                     (ConnectionError)
    ├── EndpointError               a model server                           (ConnectionError)
    │   ├── EndpointUnreachableError  did not answer at all
    │   ├── EndpointRejectedError     will not ever answer this (key, model, request)
    │   ├── EndpointThrottledError    asks to wait (429, 503)
    │   ├── EndpointTimeoutError      was too slow                           (TimeoutError)
    │   └── EndpointResponseError     sent something that is no answer
    ├── BudgetExhaustedError        the tokens or the money are spent        (RuntimeError)
    ├── GenerationError             asking on brings nothing                 (RuntimeError)
    ├── PoolError                   the database                             (OSError)
    │   ├── PoolUnavailableError    … cannot be read or written now
    │   │   └── PoolFullError       the disk is full
    │   ├── PoolVersionError        the pool is newer than this program
    │   └── NotLeadingError         another service leads it: this one's write is refused
    ├── WeightsError                weights cannot be had                    (OSError)
    │   └── WeightsHashError        … or are not what was pinned             (ValueError)
    ├── FilterError                 a filter broke: no row may pass it       (RuntimeError)
    ├── SnapshotError               a snapshot cannot be made or read        (ValueError)
    │   └── LeakError               … because held-out text is in it
    ├── TrainingError               the trainer process                      (RuntimeError)
    │   └── GpuLeaseError           … could not have the GPU
    └── EvaluationError             the evaluation process                   (RuntimeError)

A message says what happened, with which value, and what to do. `exit_code` is the command line's:
2 when work was refused before it began, 1 when it failed on the way.
"""


class SeedbedError(Exception):
    """The base of all errors raised on purpose."""

    exit_code = 1


class ConfigError(SeedbedError, ValueError):
    """A setting is wrong, unknown or missing."""

    exit_code = 2


class InputError(SeedbedError, ValueError):
    """A file or argument of the user's cannot be used."""

    exit_code = 2


class MissingFileError(InputError, FileNotFoundError):
    """A file or folder that was named is not there."""


class WorkspaceHeldError(SeedbedError, BlockingIOError):
    """Another process holds the workspace for writing."""

    exit_code = 2


class ServiceError(SeedbedError, RuntimeError):
    """A running service refuses what it was asked over HTTP, and told why by a problem (RFC 9457).

    `status` is the HTTP status, `title` the kind of problem; the message is its detail.
    """

    def __init__(self, message: str, status: int = 0, title: str = "") -> None:
        super().__init__(message, status, title)
        self.status, self.title = status, title
        self.exit_code = 1 if status >= 500 else 2

    def __str__(self) -> str:
        return str(self.args[0])


class ServiceUnreachableError(ServiceError, ConnectionError):
    """Nobody answers where a service was looked for."""


class EndpointError(SeedbedError, ConnectionError):
    """A model server failed to answer a request.

    One that reaches the command line was raised before work began: later ones belong to a request and are stored.
    """

    exit_code = 2


class EndpointUnreachableError(EndpointError):
    """The server could not be reached, or the connection broke."""


class EndpointRejectedError(EndpointError):
    """The server refuses this for good: wrong key, unknown model, malformed request.

    `status` is the HTTP status.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message, status)
        self.status = status

    def __str__(self) -> str:
        return str(self.args[0])


class EndpointThrottledError(EndpointError):
    """The server asks for patience. `retry_after_s` is its own wish, None where it named none."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return str(self.args[0])


class EndpointTimeoutError(EndpointError, TimeoutError):
    """A deadline of ours passed before the answer was whole."""


class EndpointResponseError(EndpointError):
    """What came back is no completion: invalid JSON, no choices, too large, a 5xx."""


class BudgetExhaustedError(SeedbedError, RuntimeError):
    """The budget of tokens or money is spent."""


class GenerationError(SeedbedError, RuntimeError):
    """Generation was stopped because it brought nothing; the message names what rows were lost to."""


class PoolError(SeedbedError, OSError):
    """The pool's database failed."""


class PoolUnavailableError(PoolError):
    """It cannot be read or written now: an I/O error, a lock of another process. What was acknowledged is there."""


class PoolFullError(PoolUnavailableError):
    """The disk under the pool is full; nothing acknowledged is lost."""


class PoolVersionError(PoolError):
    """The pool was written by a newer version."""

    exit_code = 2


class NotLeadingError(PoolError):
    """A write that only the leading service may make came from one that does not lead, or leads no more."""


class WeightsError(SeedbedError, OSError):
    """Model weights could not be found or fetched."""


class WeightsHashError(WeightsError, ValueError):
    """Fetched weights are not the pinned ones."""


class FilterError(SeedbedError, RuntimeError):
    """A filter broke. The run stops: a broken filter never waves a candidate through."""


class SnapshotError(SeedbedError, ValueError):
    """A snapshot cannot be frozen or read."""


class LeakError(SnapshotError):
    """Rows of the snapshot overlap with held-out tasks."""


class TrainingError(SeedbedError, RuntimeError):
    """Training failed; the message carries the exit code and the log's tail."""


class GpuLeaseError(TrainingError):
    """A server that shares the GPU would not sleep, so training has not begun."""


class EvaluationError(SeedbedError, RuntimeError):
    """Evaluation failed; the message carries the exit code and the log's tail."""
