"""The trainer against plain PEFT on padded batches, and the fall of the validation loss on real weights.

    python bench/trainer.py [--quick] [--repeats N] [--json]

Both arms train the same LoRA adapter on the same rows, once each in turn. `padded` is what a plain Hugging Face loop
does: rows in order, padded to the longest of their batch, the loss from all logits. `packed` is ours. `--quick` takes
a small random model; without it the 0.5B student is fetched, converted, and also trained on seed tasks. On a machine
with a GPU `bench/trainer_peers.py` is run instead, against Hugging Face's Trainer and TRL.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from seedbed.core.config import TrainingConfig
from seedbed.core.records import Example
from seedbed.core.text import triple_id
from seedbed.prompts.training_text import Form
from seedbed.seeds.load import PACKAGED_TASKS, load_seed_tasks
from seedbed.trainer.batches import padded
from seedbed.trainer.convert import trainable_folder
from seedbed.trainer.data import Row
from seedbed.trainer.job import Job, Stop
from seedbed.trainer.loop import train
from seedbed.trainer.model import add_adapter, choose_machine, load_base, trained_parameters
from seedbed.trainer.outputs import library_versions
from seedbed.trainer.student import Student, make_student
from seedbed.weights.resolve import cache_folder, resolve

STUDENT = "qwen2.5-coder-0.5b"
BATCH_ROWS = 16


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rows: int
    longest: int
    budget_tokens: int
    repeats: int


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of training, measured."""

    name: str
    tokens_per_s: float
    useful_share: float


def random_rows(sizes: Sizes, vocabulary: int) -> list[Row]:
    """Draw rows of lognormal length, as instruction data has; 60% of each is response."""
    rng = random.Random(0)
    lengths = [min(max(int(rng.lognormvariate(4.2, 0.9)), 16), sizes.longest) for _ in range(sizes.rows)]
    return [
        Row(str(number), Form.ALPACA, tuple(rng.randrange(1, vocabulary) for _ in range(size)), max(1, size * 2 // 5))
        for number, size in enumerate(lengths)
    ]


def small_model() -> Any:
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=8192,
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        pad_token_id=None,
    )
    model: Any = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")  # type: ignore[no-untyped-call]
    model.requires_grad_(requires_grad=False)
    model.config.use_cache = False
    return model


def padded_step(model: Any, rows: list[Row], micro_rows: int) -> int:
    """Do what a plain loop does, and return the positions it computed."""
    positions = 0
    for at in range(0, len(rows), micro_rows):
        batch = padded(rows[at : at + micro_rows], 0, 0.0)
        labels = batch.input_ids.clone()
        labels[batch.attention_mask == 0] = -100
        loss = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels).loss
        loss.backward()
        positions += batch.input_ids.numel()
    return positions


def packed_step(student: Student, rows: list[Row]) -> int:
    positions = 0
    for batch in student.passes(rows):
        torch.autograd.backward(student.loss(batch) / BATCH_ROWS)
        positions += batch.input_ids.numel()
    return positions


def measure(plain: Any, student: Student, rows: list[Row], repeats: int) -> list[Arm]:
    """Run the arms in turn, so that a slow minute of the machine meets both."""
    optimisers = [torch.optim.AdamW(trained_parameters(one).values(), lr=1e-4) for one in (plain, student.model)]
    arms: dict[str, Callable[[list[Row]], int]] = {
        "padded, whole logits (plain PEFT)": lambda chosen: padded_step(plain, chosen, 8),
        "packed, chunked loss, fused LoRA (ours)": lambda chosen: packed_step(student, chosen),
    }
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    positions = dict.fromkeys(arms, 0)
    for repeat in range(repeats + 1):
        for optimiser, (name, step) in zip(optimisers, arms.items(), strict=True):
            started, done = time.perf_counter(), 0
            for at in range(0, len(rows) if repeat else BATCH_ROWS, BATCH_ROWS):  # the first round warms up
                done += step(rows[at : at + BATCH_ROWS])
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
            if repeat:
                seconds[name].append(time.perf_counter() - started)
                positions[name] = done
                print(f"{name}: {seconds[name][-1]:.1f} s", file=sys.stderr)
    useful = sum(map(len, rows))
    return [Arm(name, useful / statistics.median(seconds[name]), useful / positions[name]) for name in arms]


def fall_of_validation_loss(cache: Path) -> float:
    """Train the student on 64 seed tasks for 3 epochs; return by which share the validation loss fell."""
    tasks = [task for task in load_seed_tasks(PACKAGED_TASKS) if len(task.output) < 600]
    random.Random(0).shuffle(tasks)
    examples = [
        Example(
            id=triple_id(task.instruction, task.input, task.output),
            task_id=task.id,
            category=task.category,
            instruction=task.instruction,
            input=task.input,
            output=task.output,
        )
        for task in tasks[:80]
    ]
    with tempfile.TemporaryDirectory() as out:
        job = Job(
            snapshot_id="bench",
            train=examples[:64],
            validation=examples[64:],
            weights=resolve(STUDENT, cache=cache),
            out=Path(out),
            config=TrainingConfig(epochs=3, evaluate_every_steps=4, batch_rows=8),
            cache=cache,
        )
        train(job, Stop())
        curve = json.loads((Path(out) / "manifest.json").read_text())["curves"]["val_loss"]
    return 1 - float(curve["last"]) / float(curve["first"])


def bar(name: str, value: float, wanted: float, text: str) -> dict[str, Any]:
    return {"name": name, "value": round(value, 3), "wanted": text, "holds": value >= wanted}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small random model, under 50 seconds")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    parser.add_argument("--repeats", type=int, default=1, help="passes of each arm over the 0.5B's rows: minutes each")
    options = parser.parse_args()
    if torch.cuda.is_available() and not options.quick:
        peers = [
            sys.executable,
            str(Path(__file__).with_name("trainer_peers.py")),
            *(["--json"] if options.json else []),
        ]
        sys.exit(subprocess.run(peers, check=False).returncode)

    sizes = Sizes(32, 256, 512, 3) if options.quick else Sizes(32, 1024, 2048, options.repeats)
    # One thread where it is quick: threads that wait for each other measure the neighbours of a shared machine.
    machine = choose_machine("cpu", "float32" if options.quick else "auto", 1 if options.quick else 0)
    cache = cache_folder()
    folder = None if options.quick else trainable_folder(resolve(STUDENT, cache=cache), cache)

    def base() -> Any:
        return load_base(folder, machine) if folder else small_model()

    plain = add_adapter(base(), TrainingConfig(), "bench").train()
    student = make_student(base(), machine, TrainingConfig(micro_batch_tokens=sizes.budget_tokens), "bench", 0)
    rows = random_rows(sizes, plain.config.vocab_size)
    arms = measure(plain, student, rows, sizes.repeats)
    ratio = arms[1].tokens_per_s / arms[0].tokens_per_s
    bars = [bar("packed against padded, useful tokens/s of one training pass", ratio, 2.0, "at least 2.0x")]
    not_run = ["validation loss over 64 rows and 3 epochs on the 0.5B student"]
    if not options.quick:
        bars.append(bar(not_run.pop(), fall_of_validation_loss(cache), 0.1, "falls by at least 10%"))
    report = {
        "versions": library_versions(),
        "sizes": {
            "rows": sizes.rows,
            "tokens": sum(map(len, rows)),
            "threads": torch.get_num_threads(),
            "dtype": str(machine.dtype),
        },
        "rows": [{"name": a.name, "tokens_per_s": a.tokens_per_s, "useful_share": a.useful_share} for a in arms],
        "bars": bars,
        "not_run": not_run,
    }
    print(json.dumps(report) if options.json else table(report))


def table(report: dict[str, Any]) -> str:
    lines = [f"{'arm':40} {'useful tokens/s':>16} {'useful share':>13}"]
    lines += [f"{row['name']:40} {row['tokens_per_s']:16,.0f} {row['useful_share']:13.2f}" for row in report["rows"]]
    lines += [f"{one['name']}: {one['value']} (wanted {one['wanted']})" for one in report["bars"]]
    return "\n".join([*lines, *(f"not run: {name}" for name in report["not_run"])])


if __name__ == "__main__":
    main()
