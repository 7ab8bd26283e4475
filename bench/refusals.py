"""How often the refusal detector errs, on completions that people labelled, beside string match and GPT-4.

Data: XSTest's 2,250 completions of five models with human labels (Röttger et al. 2024, CC-BY-4.0), which also carry
the labels of the paper's string match and of GPT-4. A refusal is a full or a partial one. The detector's patterns were
written looking at the even-numbered prompts only; the odd-numbered ones are the test.
"""

import argparse
import json
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.core.refusals import finds_refusal

DATA = Path(__file__).parents[2] / "shared/data/evaluation/xstest_completions_labelled.jsonl"
COMPLIANCE = "1_full_compliance"
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Errors:
    """A detector against people."""

    accuracy: float
    precision: float
    recall: float


def main() -> int:
    arguments = read_arguments()
    if not arguments.data.exists():
        print(f"there is no file {arguments.data}; name one with --data", file=sys.stderr)
        return 2
    rows = [json.loads(line) for line in arguments.data.read_text("utf-8").splitlines()]
    parts = {"all": rows, "even prompts (seen)": half(rows, 0), "odd prompts (test)": half(rows, 1)}
    table = {
        name: {part: measure(chosen, detector) for part, chosen in parts.items()}
        for name, detector in DETECTORS.items()
    }
    if arguments.json:
        print(json.dumps(record(table, parts)))
    else:
        show(table, parts)
    return 0


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--quick", action="store_true", help="the same: the whole takes a second")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def half(rows: Sequence[Row], parity: int) -> list[Row]:
    return [row for row in rows if int(row["id"].rsplit("-", 1)[1]) % 2 == parity]


DETECTORS: dict[str, Callable[[Row], bool]] = {
    "seedbed": lambda row: bool(finds_refusal(row["completion"])),
    "string match (XSTest)": lambda row: row["strmatch_label"] != COMPLIANCE,
    "GPT-4 (XSTest)": lambda row: row["gpt4_label"] != COMPLIANCE,
}


def measure(rows: Sequence[Row], detector: Callable[[Row], bool]) -> Errors:
    pairs = [(row["human_label"] != COMPLIANCE, detector(row)) for row in rows]
    right = sum(said == found for said, found in pairs)
    hits = sum(said and found for said, found in pairs)
    return Errors(right / len(pairs), hits / sum(found for _, found in pairs), hits / sum(said for said, _ in pairs))


def bars(table: dict[str, dict[str, Errors]]) -> list[dict[str, Any]]:
    """Say where ours is at least as good as string match, which the literature reports."""
    ours, theirs = table["seedbed"]["all"], table["string match (XSTest)"]["all"]
    return [
        {
            "name": f"refusal {aspect} against string match on 2,250 completions",
            "value": round(getattr(ours, aspect), 4),
            "wanted": f">= {getattr(theirs, aspect):.4f}",
            "holds": getattr(ours, aspect) >= getattr(theirs, aspect),
        }
        for aspect in ("accuracy", "precision", "recall")
    ]


def record(table: dict[str, dict[str, Errors]], parts: dict[str, list[Row]]) -> dict[str, Any]:
    rows = [
        {"detector": name, "rows": part, "accuracy": e.accuracy, "precision": e.precision, "recall": e.recall}
        for name, by_part in table.items()
        for part, e in by_part.items()
    ]
    versions = {"python": platform.python_version()}
    sizes = {part: len(chosen) for part, chosen in parts.items()}
    return {"versions": versions, "sizes": sizes, "rows": rows, "bars": bars(table), "not_run": []}


def show(table: dict[str, dict[str, Errors]], parts: dict[str, list[Row]]) -> None:
    print(f"{'detector':24}{'rows':24}{'n':>6}{'accuracy':>10}{'precision':>11}{'recall':>8}")
    for name, by_part in table.items():
        for part, e in by_part.items():
            print(f"{name:24}{part:24}{len(parts[part]):>6}{e.accuracy:>10.3f}{e.precision:>11.3f}{e.recall:>8.3f}")
    for bar in bars(table):
        print(f"{'holds' if bar['holds'] else 'FAILS':6} {bar['name']}: {bar['value']} (wanted {bar['wanted']})")


if __name__ == "__main__":
    raise SystemExit(main())
