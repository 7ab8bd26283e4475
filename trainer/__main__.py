"""`python -m seedbed.trainer SNAPSHOT OUT --student NAME`: train one adapter, in a process of its own.

Exit codes: 0 done, or stopped by SIGTERM with a checkpoint (`state.json` tells which); 1 failed on the way;
2 refused before work began; 130 stopped by Ctrl-C with a checkpoint. Run again with the same arguments, it goes on.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import FrameType

from pydantic import ValidationError

from seedbed.core.config import TrainingConfig
from seedbed.core.errors import ConfigError, SeedbedError, TrainingError
from seedbed.core.files import read_json, write_json, written_alone
from seedbed.core.snapshots import read_examples, read_snapshot
from seedbed.prompts.library import PromptLibrary
from seedbed.trainer.job import Job, Show, Stop, differences, identity, newest_checkpoint
from seedbed.weights.resolve import cache_folder, resolve

LOCK = "trainer.lock"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TQDM_DISABLE", "1")  # libraries' progress bars would break ours
    try:
        return _train(options)
    except SeedbedError as error:
        print(f"\nseedbed.trainer: {error}", file=sys.stderr)
        if error.exit_code == 1 and options.out.is_dir():
            _note_failure(options.out, error)
        return error.exit_code
    except OSError as error:  # a full disk, mostly: the last whole checkpoint stays
        print(f"\nseedbed.trainer: {error}; run again to go on", file=sys.stderr)
        _note_failure(options.out, error)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m seedbed.trainer", description="Train a LoRA adapter on a snapshot."
    )
    parser.add_argument("snapshot", type=Path, metavar="SNAPSHOT", help="folder of a frozen snapshot")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the adapter; a run that it holds is resumed")
    parser.add_argument("--student", required=True, help="weights, by name or path")
    parser.add_argument("--config", type=Path, help="JSON file of training settings; what it leaves out is default")
    parser.add_argument("--prompts", type=Path, help="folder of prompt templates that replace the packaged ones")
    parser.add_argument("--cache", type=Path, help="folder of fetched and converted weights")
    parser.add_argument("--accept-licence", action="append", default=[], metavar="NAME", help="a licence you accept")
    return parser


def _train(options: argparse.Namespace) -> int:
    show = _shower()
    job = _job(options, show)
    is_first = os.environ.get("RANK", "0") == "0"  # of torchrun's processes the first holds the lock for all
    with written_alone(job.out, LOCK, "trainer", TrainingError) if is_first else nullcontext():
        return _train_alone(job, show)


def _train_alone(job: Job, show: Show) -> int:
    if _is_done(job):
        show(f"{job.out} already holds this adapter")
        return 0
    newest_checkpoint(job.out / "checkpoint", job.identity)  # another run's is refused before torch is loaded
    stop, ended_by = Stop(), list[int]()

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.is_asked = True
        ended_by.append(number)
        if len(ended_by) > 1 and number == signal.SIGINT:  # the second Ctrl-C does not wait
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    if job.config.backend == "hf":
        from seedbed.trainer.hf import train_with_hf as train
    else:
        from seedbed.trainer.loop import train
    is_whole = train(job, stop)
    return 130 if not is_whole and signal.SIGINT in ended_by else 0


def _job(options: argparse.Namespace, show: Show) -> Job:
    """Read everything that can be wrong before torch is loaded."""
    config = _config(options.config)
    snapshot = read_snapshot(options.snapshot)
    if options.out.exists() and not options.out.is_dir():
        raise ConfigError(f"{options.out} is a file; name a folder for the adapter")
    cache = options.cache or cache_folder()

    def fetched(what: str, done_bytes: int, total_bytes: int) -> None:
        show(f"{what}: {done_bytes / max(total_bytes, 1):.0%}", is_passing=True)

    weights = resolve(options.student, cache=cache, accepted_licences=options.accept_licence, progress=fetched)
    return Job(
        snapshot_id=snapshot.id,
        train=read_examples(options.snapshot, "train"),
        validation=read_examples(options.snapshot, "val"),
        weights=weights,
        out=options.out,
        config=config,
        cache=cache,
        show=show,
        prompts=PromptLibrary(options.prompts),
    )


def _config(path: Path | None) -> TrainingConfig:
    if path is None:
        return TrainingConfig()
    try:
        return TrainingConfig.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise ConfigError(f"{path}: {name}: {first['msg']}, got {str(first['input'])[:80]}") from error


def _is_done(job: Job) -> bool:
    """Tell whether OUT holds this job's adapter.

    Raises:
        ConfigError: It holds another's.
    """
    path = job.out / "manifest.json"
    if not path.exists():
        return False
    held = read_json(path)
    found = identity(held["snapshot_id"], held["base_sha256"], held["config"], held.get("prompts", {}))
    if differing := differences(found, job.identity):
        raise ConfigError(f"{job.out} holds another adapter ({', '.join(differing)} differ); name another folder")
    return True


def _note_failure(out: Path, error: Exception) -> None:
    try:
        write_json(out / "state.json", {"state": "failed", "error": str(error)})
    except OSError:  # the disk may be what failed; the exit code tells it too
        return


def _shower(now: Callable[[], float] = time.monotonic) -> Show:
    """Show lines on standard error: passing ones over each other on a terminal, one in ten seconds in a log."""
    last = [0.0]

    def show(line: str, *, is_passing: bool = False) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[K{line}", end="" if is_passing else "\n", file=sys.stderr, flush=True)
        elif not is_passing or now() - last[0] >= 10:
            last[0] = now()
            print(line, file=sys.stderr, flush=True)

    return show


if __name__ == "__main__":
    sys.exit(main())
