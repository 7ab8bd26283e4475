"""The selftest's figures: readable in a narrow terminal, and measured anew only where references changed."""

import io
import os
from pathlib import Path

from rich.console import Console

from seedbed.core.files import read_json, write_json
from seedbed.service.decontamination import print_selftest, selftest_of, selftest_text
from seedbed.service.init import create_workspace
from seedbed.service.workspace import open_workspace

ITEM = "How many marbles does Odalys keep when she hands eleven of her forty to the neighbour's quiet twins?"


def test_every_share_can_be_read_in_80_columns() -> None:
    counts = {"equal_item": 26402, "embedded_item": 26402, "shared_ngram": 26402, "covered_item": 26402}
    canary = "1 word in 10 replaced, 21 to 35 words"
    recall = {"reference": "natural_questions", "canary": canary, "planted": 26402, "found": 13201, "by_rule": counts}
    result = {"recalls": [recall], "false_positives": 3, "clean_rows": 269, "is_synthetic": False}
    shown = io.StringIO()
    print_selftest(result, Console(file=shown, width=80))
    line = next(line for line in shown.getvalue().splitlines() if canary in line)
    assert line.split()[-6:] == ["26402", "0.500", "26402", "26402", "26402", "26402"]
    assert "3 of 269 clean rows" in shown.getvalue()


def test_figures_are_measured_once_for_each_state_of_the_references(tmp_path: Path) -> None:
    create_workspace(tmp_path / "w")
    workspace = open_workspace(tmp_path / "w")
    first = selftest_of(workspace)
    stored = workspace.reports / "decontamination.json"
    assert first["is_synthetic"]
    write_json(stored, {**first, "clean_rows": -1})  # only what was read back can say this
    assert selftest_of(workspace)["clean_rows"] == -1
    (tmp_path / "w" / "references" / "marbles.txt").write_text(f"{ITEM}{os.linesep}")
    again = selftest_of(workspace)
    assert again["references"] == ["marbles"]
    assert not again["is_synthetic"]
    assert read_json(stored) == again
    assert "verbatim 1.000" in selftest_text(again).plain
