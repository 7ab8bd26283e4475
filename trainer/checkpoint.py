"""Saving a run so that it goes on, after any end, as if it had never stopped.

A checkpoint is a folder of safetensors and JSON, never a pickle: adapter, optimiser moments, random state, and in
`state.json`, written last, the number of steps done. The order of rows and the learning rate follow from that
number. The last whole checkpoint is removed only when the next one is whole.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from seedbed.core.errors import TrainingError
from seedbed.core.files import read_json, sync_folder, write_atomic, write_json
from seedbed.trainer.job import CHECKPOINT_STATE, newest_checkpoint


def save_checkpoint(
    folder: Path, step: int, run: dict[str, Any], parameters: dict[str, torch.nn.Parameter], optimiser: Any
) -> None:
    """Save what is needed to go on after `step`; `run` says which run it belongs to.

    Raises:
        TrainingError: It cannot be written (a full disk); the checkpoint before it stays.
    """
    target = folder / f"step-{step:08}"
    shutil.rmtree(target, ignore_errors=True)
    try:
        target.mkdir(parents=True)
        write_atomic(target / "adapter.safetensors", _bytes({name: p.detach() for name, p in parameters.items()}))
        write_atomic(target / "optimiser.safetensors", _bytes(_moments(parameters, optimiser)))
        write_atomic(target / "random.safetensors", _bytes(random_state()))
        write_json(target / CHECKPOINT_STATE, {"step": step, "run": run})
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise TrainingError(f"the checkpoint of step {step} cannot be written to {folder}: {error}") from error
    sync_folder(folder)
    for older in folder.iterdir():
        if older != target:
            shutil.rmtree(older)


def load_checkpoint(
    folder: Path, run: dict[str, Any], parameters: dict[str, torch.nn.Parameter], optimiser: Any
) -> int:
    """Restore the newest whole checkpoint and return the steps done; 0 where there is none.

    Raises:
        ConfigError: It belongs to another run.
    """
    newest = newest_checkpoint(folder, run)
    if newest is None:
        return 0
    device = next(iter(parameters.values())).device
    saved = load_file(newest / "adapter.safetensors", device=str(device))
    moments = load_file(newest / "optimiser.safetensors", device=str(device))
    for name, parameter in parameters.items():
        parameter.data.copy_(saved[name])
        optimiser.state[parameter] = {
            # The fused optimiser of a GPU counts its steps there.
            "step": moments[f"{name}.step"] if optimiser.defaults["fused"] else moments[f"{name}.step"].cpu(),
            "exp_avg": moments[f"{name}.exp_avg"],
            "exp_avg_sq": moments[f"{name}.exp_avg_sq"],
        }
    restore_random_state(load_file(newest / "random.safetensors"))
    return int(read_json(newest / CHECKPOINT_STATE)["step"])


def _bytes(tensors: dict[str, torch.Tensor]) -> bytes:
    return save({name: tensor.contiguous().cpu() for name, tensor in tensors.items()})


def _moments(parameters: dict[str, torch.nn.Parameter], optimiser: Any) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{kind}": value
        for name, parameter in parameters.items()
        for kind, value in optimiser.state[parameter].items()
    }


def random_state() -> dict[str, torch.Tensor]:
    """Return the state of every random generator that a pass may draw from."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: dict[str, torch.Tensor]) -> None:
    """Put the random generators back to a state."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
