"""The trainer against Hugging Face's Trainer and TRL, on random models of real shapes: for one GPU.

    python bench/trainer_peers.py [--shape 0.5B --shape 8B] [--arm NAME] [--quick] [--json] [--profile FOLDER]

Random weights, random tokens, documents of lognormal length up to 2,048 tokens of which 60% are trained, LoRA r=16 on
all linear layers, and the same rows for every arm. Each arm is a process of its own, which also measures the rate of a
large matrix product; MFU is model FLOPs against that rate, and 1 is the floor under the time. The first two steps are
not counted. Needs torch, transformers, peft and accelerate, for the peers also trl and datasets, and no network.
Without a GPU, and with `--quick`, the shape is tiny, and what is shown is that every arm runs.
"""

import argparse
import json
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
import transformers

from seedbed.core.config import TrainingConfig
from seedbed.prompts.training_text import Form
from seedbed.trainer.attention import attend_by_document, bind, use_varlen, varlen_kernel
from seedbed.trainer.data import Row
from seedbed.trainer.model import Machine, trained_parameters
from seedbed.trainer.quiet import quiet
from seedbed.trainer.speed import matrix_rate, work_of
from seedbed.trainer.student import fit_passes, make_student

QWEN, LLAMA = transformers.Qwen2Config, transformers.LlamaConfig
SHAPES: dict[str, tuple[type, tuple[int, int, int, int, int, int]]] = {
    # hidden, intermediate, layers, heads, key heads, vocabulary
    "tiny": (QWEN, (64, 256, 2, 4, 2, 2048)),
    "0.5B": (QWEN, (896, 4864, 24, 14, 2, 151_936)),
    "1.5B": (QWEN, (1536, 8960, 28, 12, 2, 151_936)),
    "8B": (LLAMA, (4096, 14336, 32, 32, 8, 128_256)),
}
OURS, PADDED, TRL, TRL_VARLEN = "ours", "HF Trainer, padded", "TRL, packing", "TRL, packing, our attention"
EAGER = "ours, without Liger's kernels"
ARMS = [OURS, PADDED, TRL, TRL_VARLEN]
LONGEST, STEPS, SKIPPED, STEP_ROWS = 2048, 8, 2, 32
TINY_STEPS = 5
PASS_TOKENS = 8192
"""Of the padded arm at most: four or eight rows."""


def random_rows(count: int, longest: int, vocabulary: int) -> list[Row]:
    """Draw rows of lognormal length, a median of a fifth of the longest."""
    rng = random.Random(0)
    lengths = [min(max(int(rng.lognormvariate(math.log(longest / 5), 0.7)), 8), longest) for _ in range(count)]
    return [
        Row(str(number), Form.ALPACA, tuple(rng.randrange(2, vocabulary) for _ in range(size)), size * 2 // 5)
        for number, size in enumerate(lengths)
    ]


def random_model(shape: str, machine: Machine) -> Any:
    kind, (hidden, intermediate, layers, heads, keys, vocabulary) = SHAPES[shape]
    config = kind(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=keys,
        tie_word_embeddings=kind is QWEN,
        max_position_embeddings=LONGEST,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    with quiet(), machine.device:
        model: Any = transformers.AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            config, dtype=machine.dtype, attn_implementation="sdpa"
        )
    model.requires_grad_(requires_grad=False)
    model.config.use_cache = False
    return model


class Clock:
    """When each optimiser step ended, and how many tokens that were no padding it had."""

    def __init__(self) -> None:
        self.ends = [time.perf_counter()]
        self.tokens: list[int] = []

    def end_step(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())

    def tokens_per_s(self, passes_of_a_step: int = 1) -> float:
        """Return the rate after the skipped steps."""
        steps = len(self.ends) - 1
        counted = self.tokens[SKIPPED * passes_of_a_step : steps * passes_of_a_step]
        return sum(counted) / (self.ends[-1] - self.ends[SKIPPED])


def steps_of(shape: str) -> int:
    return TINY_STEPS if shape == "tiny" else STEPS


def ours(
    model: Any, machine: Machine, rows: list[Row], tokens: int, *, kernels: Literal["auto", "off"], profile: str
) -> dict[str, Any]:
    given = 0 if machine.device.type == "cuda" else tokens  # on a GPU as many as fit
    student = make_student(model, machine, TrainingConfig(micro_batch_tokens=given, kernels=kernels), "bench", 0)
    note = fit_passes(student, max(map(len, rows)))
    parameters = list(trained_parameters(student.model).values())
    optimiser = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0, fused=machine.device.type == "cuda")

    def step(chosen: list[Row]) -> int:
        for batch in student.passes(chosen):
            torch.autograd.backward(student.loss(batch) / len(chosen))
        return sum(map(len, chosen))

    clock = Clock()
    for at in range(0, len(rows), STEP_ROWS):
        clock.tokens.append(student.survive(step, rows[at : at + STEP_ROWS]))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        clock.end_step()
    if profile:
        with torch.profiler.profile() as taken:
            student.survive(step, rows[:STEP_ROWS])
            optimiser.step()
        by = "self_cuda_time_total" if machine.device.type == "cuda" else "self_cpu_time_total"
        table_of = taken.key_averages().table(sort_by=by, row_limit=45, max_name_column_width=90)
        Path(profile).write_text(table_of, encoding="utf-8")
    notes = [
        *student.notes,
        note,
        f"{student.pass_tokens} tokens a pass at most",
        "varlen kernel" if student.is_varlen else "SDPA",
    ]
    return told(clock, 1, [one for one in notes if one])


class _Timer(transformers.TrainerCallback):
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002
        self.clock.ends = [time.perf_counter()]

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002
        self.clock.end_step()


def timed(trainer: Any, passes: int, notes: list[str]) -> dict[str, Any]:
    """Run one of Hugging Face's trainers and count what its collator makes."""
    clock, collate = Clock(), trainer.data_collator

    def counting(examples: list[Any]) -> Any:
        batch = collate(examples)
        mask = batch.get("attention_mask")
        clock.tokens.append(int(batch["input_ids"].numel() if mask is None else mask.sum()))
        return batch

    trainer.data_collator = counting
    trainer.add_callback(_Timer(clock))
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    return told(clock, passes, notes)


def told(clock: Clock, passes: int, notes: list[str]) -> dict[str, Any]:
    return {
        "tokens_per_s": clock.tokens_per_s(passes),
        "first_step_s": clock.ends[1] - clock.ends[0],
        "step_s": statistics.median(later - earlier for earlier, later in pairwise(clock.ends[SKIPPED:])),
        "notes": notes,
    }


def lora() -> Any:
    import peft

    return peft.LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")


def labelled(rows: list[Row]) -> list[dict[str, list[int]]]:
    return [
        {"input_ids": list(row.tokens), "labels": [-100] * row.prompt_tokens + list(row.tokens[row.prompt_tokens :])}
        for row in rows
    ]


def common(folder: str, machine: Machine, steps: int, **more: Any) -> dict[str, Any]:
    return {
        "output_dir": folder,
        "max_steps": steps,
        "report_to": [],
        "save_strategy": "no",
        "logging_steps": steps,
        "disable_tqdm": True,
        "use_cpu": machine.device.type == "cpu",
        "bf16": machine.dtype == torch.bfloat16,
        **more,
    }


def hf_padded(model: Any, machine: Machine, rows: list[Row], tokens: int, *, checkpointed: bool) -> dict[str, Any]:
    import peft
    from torch.nn.utils.rnn import pad_sequence

    def collate(examples: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        ids = [torch.tensor(example["input_ids"]) for example in examples]
        labels = [torch.tensor(example["labels"]) for example in examples]
        return {
            "input_ids": pad_sequence(ids, batch_first=True),
            "attention_mask": pad_sequence([torch.ones_like(one) for one in ids], batch_first=True),
            "labels": pad_sequence(labels, batch_first=True, padding_value=-100),
        }

    batch, passes = (8, STEP_ROWS // 8) if tokens >= PASS_TOKENS else (4, STEP_ROWS // 4)
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            **common(
                folder,
                machine,
                len(rows) // STEP_ROWS,
                per_device_train_batch_size=batch,
                gradient_accumulation_steps=passes,
            ),
            remove_unused_columns=False,
            gradient_checkpointing=checkpointed,
        )
        trainer = transformers.Trainer(
            model=peft.get_peft_model(model, lora()),
            args=arguments,
            train_dataset=labelled(rows),
            data_collator=collate,
        )
        return timed(trainer, passes, [f"{batch} rows a pass", *checkpointing_told(on=checkpointed)])


def trl_packing(
    model: Any, machine: Machine, rows: list[Row], tokens: int, *, checkpointed: bool, is_varlen: bool
) -> dict[str, Any]:
    from datasets import Dataset

    trl: Any = import_module("trl")

    notes = checkpointing_told(on=checkpointed)
    if is_varlen:
        kernel = varlen_kernel() if machine.device.type == "cuda" else None
        use_varlen(model, bind(kernel) if kernel else attend_by_document)
        notes.append("varlen kernel" if kernel else "SDPA by document")
    longest = max(map(len, rows)) if tokens < PASS_TOKENS else LONGEST
    # Packs are what TRL makes of the rows; enough of them for every step.
    steps = len(rows) // STEP_ROWS
    needed = steps * 8 * longest / statistics.mean(map(len, rows))
    many = (rows * math.ceil(needed / len(rows)))[: math.ceil(needed)]
    with tempfile.TemporaryDirectory() as folder:
        arguments = trl.SFTConfig(
            **common(folder, machine, steps, packing=True, max_length=longest, gradient_checkpointing=checkpointed)
        )
        trainer = trl.SFTTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list(labelled(many)),
            processing_class=tokenizer(),
            peft_config=lora(),
        )
        return timed(trainer, 1, notes)


def tokenizer() -> Any:
    """Return a tokenizer of two words: TRL wants one, and rows come as tokens."""
    from tokenizers import Tokenizer, models

    made = Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1}, unk_token="<pad>"))
    return transformers.PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=made, pad_token="<pad>", eos_token="<eos>"
    )


def checkpointing_told(*, on: bool) -> list[str]:
    return ["activations checkpointed"] if on else []


def run_arm(arm: str, shape: str, *, checkpointed: bool, profile: str) -> dict[str, Any]:
    is_gpu = torch.cuda.is_available()
    machine = Machine(torch.device("cuda" if is_gpu else "cpu"), torch.bfloat16 if is_gpu else torch.float32)
    if not is_gpu:
        torch.set_num_threads(1)
    torch.manual_seed(0)
    tokens = 256 if shape == "tiny" else PASS_TOKENS
    rows = random_rows(steps_of(shape) * STEP_ROWS, tokens if shape == "tiny" else LONGEST, SHAPES[shape][1][-1])
    rate = matrix_rate(machine)
    model = random_model(shape, machine)
    arms: dict[str, Callable[[], dict[str, Any]]] = {
        OURS: lambda: ours(model, machine, rows, tokens, kernels="auto", profile=profile),
        EAGER: lambda: ours(model, machine, rows, tokens, kernels="off", profile=profile),
        PADDED: lambda: hf_padded(model, machine, rows, tokens, checkpointed=checkpointed),
        TRL: lambda: trl_packing(model, machine, rows, tokens, checkpointed=True, is_varlen=False),
        TRL_VARLEN: lambda: trl_packing(model, machine, rows, tokens, checkpointed=checkpointed, is_varlen=True),
    }
    with quiet():
        found = arms[arm]()
    from peft import get_peft_model

    with quiet(), torch.device("meta"):
        work = work_of(get_peft_model(random_model(shape, Machine(torch.device("meta"), machine.dtype)), lora()))
    a_token = work.flops(rows) / sum(map(len, rows))
    peak = torch.cuda.max_memory_allocated() if is_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "arm": arm,
        "shape": shape,
        **found,
        "mfu": found["tokens_per_s"] * a_token / rate,
        "floor_tokens_per_s": rate / a_token,
        "matrix_tflop_per_s": rate / 1e12,
        "peak_gib": peak / 2**30,
        "device": torch.cuda.get_device_name() if is_gpu else "cpu",
    }


def child(arm: str, shape: str, profile: str) -> dict[str, Any]:
    """Run an arm in a process of its own; without checkpointing first, and with it where that does not fit."""
    for checkpointed in (False, True):
        command = [sys.executable, __file__, "--arm", arm, "--shape", shape, "--one"]
        command += ["--checkpointed"] if checkpointed else []
        if profile and arm in {OURS, EAGER}:
            command += ["--profile", str(Path(profile) / f"{shape}-{'ours' if arm == OURS else 'eager'}.txt")]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **ONE_THREAD})
        if ended.returncode == 0:
            return dict(json.loads(ended.stdout.splitlines()[-1]))
        if "OutOfMemoryError" not in ended.stderr:
            break
    return {"arm": arm, "shape": shape, "failed": ended.stderr.strip().splitlines()[-1:]}


ONE_THREAD = {} if torch.cuda.is_available() else {"OMP_NUM_THREADS": "1"}


def bars_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare at the shapes that were run on a GPU."""
    speed = {(row["shape"], row["arm"]): row["tokens_per_s"] for row in rows if "tokens_per_s" in row}
    wanted = [("8B", TRL, 1.5, "TRL's defaults with packing"), ("8B", TRL_VARLEN, 1.15, "TRL given our attention")]
    bars = [
        bar(
            f"non-padding tokens/s at {shape} against {text}",
            speed[shape, OURS] / speed[shape, arm],
            least,
            f"{least}x",
        )
        for shape, arm, least, text in wanted
        if {(shape, OURS), (shape, arm)} <= speed.keys()
    ]
    floors = [row for row in rows if row["arm"] == OURS and row["shape"] in {"1.5B", "8B"} and "mfu" in row]
    return [*bars, *(bar(f"share of the floor at {row['shape']}", row["mfu"], 0.6, "0.6") for row in floors)]


def bar(name: str, value: float, least: float, text: str) -> dict[str, Any]:
    return {"name": name, "value": round(value, 3), "wanted": f"at least {text}", "holds": value >= least}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", action="append", choices=list(SHAPES))
    parser.add_argument("--arm", action="append", choices=[*ARMS, EAGER])
    parser.add_argument("--quick", action="store_true", help="the tiny shape, under 50 seconds")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    parser.add_argument("--profile", default="", metavar="FOLDER", help="write what one step of ours spends on what")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--checkpointed", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        ways = {"checkpointed": options.checkpointed, "profile": options.profile}
        print(json.dumps(run_arm(options.arm[0], options.shape[0], **ways)))
        return
    is_tiny = options.quick or not torch.cuda.is_available()
    shapes = ["tiny"] if is_tiny else options.shape or ["8B", "1.5B", "0.5B"]
    arms = options.arm or ARMS
    missing = [name for name in ("trl", "datasets") if find_spec(name) is None]
    not_run = [f"{arm} (needs {' and '.join(missing)})" for arm in arms if missing and arm in {TRL, TRL_VARLEN}]
    arms = [arm for arm in arms if not missing or arm not in {TRL, TRL_VARLEN}]
    rows = []
    for number, (shape, arm) in enumerate(pairs := [(shape, arm) for shape in shapes for arm in arms], 1):
        started = time.perf_counter()
        rows.append(child(arm, shape, options.profile))
        told_row = json.dumps(rows[-1])
        print(f"{number}/{len(pairs)}, {time.perf_counter() - started:.0f} s: {told_row}", file=sys.stderr, flush=True)
    if is_tiny:
        not_run += ["8B against TRL, and the share of the floor at 8B and 1.5B (need a GPU)"]
    sizes = {"longest": LONGEST, "step_rows": STEP_ROWS, "steps": STEPS, "pass_tokens": PASS_TOKENS}
    report = {"versions": versions(), "sizes": sizes, "rows": rows, "bars": bars_of(rows), "not_run": not_run}
    print(json.dumps(report) if options.json else table(report))


def versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for name in ("torch", "transformers", "peft", "accelerate", "triton", "trl", "datasets", "liger-kernel"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def table(report: dict[str, Any]) -> str:
    lines = [f"{'shape':6} {'arm':30} {'tokens/s':>10} {'MFU':>6} {'floor':>9} {'GiB':>6} {'first step':>11}"]
    for row in report["rows"]:
        if "failed" in row:
            lines.append(f"{row['shape']:6} {row['arm']:30} failed: {' '.join(row['failed'])}")
            continue
        figures = f"{row['tokens_per_s']:10,.0f} {row['mfu']:6.1%} {row['floor_tokens_per_s']:9,.0f}"
        notes = ", ".join(row["notes"])
        lines.append(
            f"{row['shape']:6} {row['arm']:30} {figures} {row['peak_gib']:6.1f} {row['first_step_s']:9.2f} s  {notes}"
        )
    lines += [f"{one['name']}: {one['value']} (wanted {one['wanted']})" for one in report["bars"]]
    return "\n".join([*lines, *(f"not run: {name}" for name in report["not_run"])])


if __name__ == "__main__":
    main()
