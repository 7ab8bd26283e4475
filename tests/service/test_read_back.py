"""Exports as others read them: `datasets`, TRL's SFTTrainer, LLaMA-Factory's loader and axolotl's, row for row.

LLaMA-Factory and axolotl pin versions of what Seedbed uses too, so each has an environment of its own, whose Python
SEEDBED_LLAMAFACTORY_PYTHON and SEEDBED_AXOLOTL_PYTHON name. As tried, on Python 3.11 with torch 2.13 (CPU):

    llamafactory==0.9.5 (--no-deps), transformers==5.6.0 datasets==4.0.0 peft==0.18.1 trl==0.24.0 accelerate==1.11.0
        omegaconf fire pandas einops 'tyro<0.9' tiktoken sentencepiece
    axolotl==0.19.0 axolotl-contribs-lgpl==0.0.7 axolotl-contribs-mit==0.0.6 (--no-deps), transformers==5.16.1
        datasets==4.8.4 trl==1.9.0 peft==0.20.0 accelerate==1.13.0 pydantic==2.12.5 addict fire requests
        python-dotenv einops colorama posthog typer
"""

import csv
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seedbed.core.records import Candidate
from seedbed.service.export import PARQUET_COLUMNS, Format, export
from seedbed.service.export_command import run_export, wanted_export
from tests.service.exported import ROWS, Filled, filled, triples

TRIPLE = ("instruction", "input", "output")


@pytest.fixture(scope="module")
def pond(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    with filled(tmp_path_factory.mktemp("pond") / "w") as found:
        yield found


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


def asked(one: Candidate) -> str:
    return f"{one.instruction}\n\n{one.input}" if one.input else one.instruction


def load(kind: str, path: Path, cache: Path) -> list[dict[str, Any]]:
    from datasets import load_dataset

    return list(load_dataset(kind, data_files=str(path), split="train", cache_dir=str(cache)))


@pytest.mark.parametrize(
    ("form", "kind"), [(Format.ALPACA, "json"), (Format.ALPACA_LINES, "json"), (Format.PARQUET, "parquet")]
)
def test_datasets_reads_triples_back(form: Format, kind: str, tmp_path: Path) -> None:
    export(ROWS, form, path := tmp_path / f"rows.{kind}")
    assert [tuple(one[name] for name in TRIPLE) for one in load(kind, path, tmp_path)] == triples(ROWS)


@pytest.mark.parametrize("form", [Format.SHAREGPT, Format.SHAREGPT_LINES])
def test_datasets_reads_conversations_back(form: Format, tmp_path: Path) -> None:
    export(ROWS, form, path := tmp_path / "rows.json")
    read = [[turn["value"] for turn in one["conversations"]] for one in load("json", path, tmp_path)]
    assert read == [[asked(one), one.output] for one in ROWS]


def test_datasets_reads_messages_back(tmp_path: Path) -> None:
    export(ROWS, Format.MESSAGES, path := tmp_path / "rows.jsonl")
    read = [[(turn["role"], turn["content"]) for turn in one["messages"]] for one in load("json", path, tmp_path)]
    assert read == [[("user", asked(one)), ("assistant", one.output)] for one in ROWS]


def test_a_csv_reader_reads_back_all_but_the_formulas(tmp_path: Path) -> None:
    export(ROWS, Format.CSV, path := tmp_path / "rows.csv")
    with path.open(newline="", encoding="utf-8") as stream:
        read = [tuple(one[name] for name in TRIPLE) for one in csv.DictReader(stream)]
    formulas = [one for one, row in zip(read, triples(ROWS), strict=True) if one != row]
    assert formulas == [("'=SUM(A1:A9)", "'@cmd", "'-1")]


def test_datasets_reads_a_data_set_folder_with_its_splits_and_card(pond: Filled, tmp_path: Path) -> None:
    from datasets import load_dataset
    from huggingface_hub import DatasetCard

    run_export(pond.workspace, pond.pool, wanted_export(tmp_path / "set", "hf", "", "", ()))
    read = load_dataset(str(tmp_path / "set"), cache_dir=str(tmp_path / "cache"))
    assert {name: rows.num_rows for name, rows in read.items()} == {
        "train": pond.snapshot.train_rows,
        "validation": pond.snapshot.val_rows,
    }
    rows = [one for split in read.values() for one in split]
    assert list(rows[0]) == list(PARQUET_COLUMNS)
    expected = [(one.id, *texts, "alpaca", "scripted") for one, texts in zip(ROWS, triples(ROWS), strict=True)]
    assert sorted(tuple(one[name] for name in ("id", *TRIPLE, "recipe", "model")) for one in rows) == sorted(expected)
    card = DatasetCard.load(tmp_path / "set" / "README.md")
    assert card.data.license == "unknown"
    assert [one["split"] for one in card.data.configs[0]["data_files"]] == ["train", "validation"]


@pytest.mark.filterwarnings("ignore")  # of TRL and what it imports
def test_trl_prepares_messages_so_that_they_decode_to_the_rows(tiny_model_folder: Path, tmp_path: Path) -> None:
    from datasets import Dataset, load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    export(ROWS, Format.MESSAGES, path := tmp_path / "rows.jsonl")
    rows = load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path))
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_model_folder),
        args=SFTConfig(output_dir=str(tmp_path / "out"), max_length=None, report_to=[], use_cpu=True),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    ready = trainer.train_dataset
    assert isinstance(ready, Dataset)
    prepared = [str(tokenizer.decode(one["input_ids"])) for one in ready]
    assert [text.removesuffix("<|endoftext|>") for text in prepared] == [
        f"<|im_start|>user\n{asked(one)}<|im_end|>\n<|im_start|>assistant\n{one.output}<|im_end|>\n" for one in ROWS
    ]


LLAMA_FACTORY_SCRIPT = """
import importlib.machinery, json, sys, types
try:
    import torchaudio
except (ImportError, OSError):  # imported whatever is loaded; no row here has sound
    torchaudio = sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    torchaudio.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
from transformers import AutoTokenizer, Seq2SeqTrainingArguments
from llamafactory.data import get_template_and_fix_tokenizer
from llamafactory.data.loader import _get_merged_dataset
from llamafactory.hparams import DataArguments, ModelArguments
folder, names = sys.argv[1], sys.argv[2].split(",")
told = {}
for name in names:
    data = DataArguments(dataset=name, dataset_dir=folder, template="empty")
    model = ModelArguments(model_name_or_path="none")
    training = Seq2SeqTrainingArguments(output_dir=folder + "/out", do_train=True, use_cpu=True)
    rows = _get_merged_dataset([name], model, data, training, stage="sft")
    told[name] = [(row["_prompt"][-1]["content"], row["_response"][0]["content"]) for row in rows]
json.dump(told, sys.stdout)
"""

AXOLOTL_SCRIPT = """
import json, sys, yaml
from axolotl.utils.schemas.datasets import SFTDataset
told = SFTDataset.model_validate(yaml.safe_load(open(sys.argv[1]))["datasets"][0])
json.dump(told.model_dump(mode="json", exclude_none=True), sys.stdout)
"""


def other_python(variable: str) -> str:
    python = os.environ.get(variable, "")
    if not python:
        pytest.skip(f"{variable} names no Python")
    return python


def said_by(python: str, script: str, *arguments: str) -> Any:
    done = subprocess.run([python, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])  # LLaMA-Factory logs to standard output too


@pytest.mark.manual
def test_llama_factorys_loader_reads_every_format_by_its_entry(pond: Filled, tmp_path: Path) -> None:
    python = other_python("SEEDBED_LLAMAFACTORY_PYTHON")
    files = {
        "alpaca": "json",
        "alpaca-jsonl": "jsonl",
        "sharegpt": "json",
        "sharegpt-jsonl": "jsonl",
        "messages": "jsonl",
        "parquet": "parquet",
    }
    for form, ending in files.items():
        out = tmp_path / f"{form}.{ending}"
        run_export(pond.workspace, pond.pool, wanted_export(out, form, "", "", ("llamafactory",)))
    told = said_by(python, LLAMA_FACTORY_SCRIPT, str(tmp_path), ",".join(files))
    for form in files:
        joined = "\n" if form in {"alpaca", "alpaca-jsonl", "parquet"} else "\n\n"  # as LLaMA-Factory joins a query
        expected = [[joined.join(filter(None, (one.instruction, one.input))), one.output] for one in ROWS]
        assert told[form] == expected, form


@pytest.mark.manual
@pytest.mark.parametrize("form", ["alpaca", "sharegpt", "messages"])
def test_axolotl_takes_the_entry_by_its_own_schema(pond: Filled, form: str, tmp_path: Path) -> None:
    python = other_python("SEEDBED_AXOLOTL_PYTHON")
    out = tmp_path / "rows.jsonl"
    run_export(pond.workspace, pond.pool, wanted_export(out, form, "", "", ("axolotl",)))
    told = said_by(python, AXOLOTL_SCRIPT, str(tmp_path / "rows.jsonl.axolotl.yaml"))
    assert told["path"] == "rows.jsonl"
