"""`python -m seedbed.evaluation SPEC OUT`: compare an adapter with its base, in a process of its own.

Exit codes: 0 done; 1 failed on the way; 2 refused before work began; 130 and 143 stopped by Ctrl-C and SIGTERM, with
all answers so far kept. Run again with the same arguments, it goes on.
"""

import argparse
import json
import signal
import sys
from pathlib import Path
from types import FrameType

from seedbed.core.errors import EvaluationError, MissingFileError, SeedbedError
from seedbed.core.files import sha256_of, written_alone
from seedbed.evaluation.answering import LocalAnswerer
from seedbed.evaluation.asking import Hashes, Show
from seedbed.evaluation.run import evaluate
from seedbed.evaluation.spec import EvaluationSpec, read_spec
from seedbed.prompts.library import PromptLibrary
from seedbed.weights.resolve import Weights, cache_folder, resolve

_ADAPTER_FILE = "adapter_model.safetensors"
_LOCK = "evaluation.lock"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _leave)
    try:
        _run(options.spec, options.out, _shower())
    except SeedbedError as error:
        print(f"\nseedbed.evaluation: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a full disk, mostly: the answers so far are kept
        print(f"\nseedbed.evaluation: {error}; run again to go on", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nseedbed.evaluation: stopped; run again to go on", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m seedbed.evaluation", description="Compare an adapter with its base on held-out tasks."
    )
    parser.add_argument("spec", type=Path, metavar="SPEC", help="JSON file that says which adapter and which tasks")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for report.json, report.md and answers.jsonl")
    return parser


def _run(path: Path, out: Path, show: Show) -> None:
    spec = read_spec(path)
    if not (spec.adapter / _ADAPTER_FILE).exists():
        raise MissingFileError(f"{spec.adapter} is no adapter folder: it has no {_ADAPTER_FILE}")
    with written_alone(out, _LOCK, "evaluation", EvaluationError):
        cache = spec.cache or cache_folder()
        weights = resolve(spec.student, cache=cache, accepted_licences=spec.accept_licence)
        prompts = PromptLibrary(spec.prompts).overridden("training")
        hashes = Hashes(
            weights.base_sha256, sha256_of(spec.adapter / _ADAPTER_FILE), json.dumps(prompts, sort_keys=True)
        )
        show(f"loading {spec.student}")
        report = evaluate(spec, _load(spec, weights, cache), out, hashes=hashes, show=show)
        print(f"\n{report.reason}\n{out / 'report.md'}")


def _load(spec: EvaluationSpec, weights: Weights, cache: Path) -> LocalAnswerer:
    from seedbed.trainer.convert import trainable_folder  # torch comes with it

    return LocalAnswerer.load(
        trainable_folder(weights, cache), spec.adapter, spec.training, PromptLibrary(spec.prompts)
    )


def _shower() -> Show:
    """Return what tells of progress: one line that changes on a terminal, a line each in a log."""
    if sys.stdout.isatty():
        return lambda line: print(f"\r\x1b[K{line}", end="", flush=True)
    return lambda line: print(line, flush=True)


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
