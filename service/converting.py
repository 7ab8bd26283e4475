"""`seedbed convert`: an adapter of this workspace as a GGUF file, beside the base it belongs to."""

from pathlib import Path
from typing import Any

from seedbed.core.errors import InputError
from seedbed.pool.pool import Pool
from seedbed.service.workspace import Workspace
from seedbed.weights.cache import cache_folder
from seedbed.weights.resolve import resolve


def convert_adapter(workspace: Workspace, name: str, out: Path) -> dict[str, Any]:
    """Write adapter `name` to `out`.

    Raises:
        InputError: There is no such adapter, or the student's weights are not those it was trained on.
        TrainingError: It is of a kind that a GGUF adapter cannot hold.
    """
    with Pool.open(workspace.folder, workspace.config.pool, read_only=True) as pool:
        adapters = {adapter.id: adapter for adapter in pool.adapters()}
    if name not in adapters:
        raise InputError(f"there is no adapter {name}; there are: {', '.join(adapters) or 'none yet'}")
    adapter = adapters[name]
    weights = resolve(adapter.base, accepted_licences=workspace.config.accept_licence)
    if weights.base_sha256 != adapter.base_sha256:
        raise InputError(
            f"adapter {name} was trained on other weights than {adapter.base} is now; name those as student"
        )
    from seedbed.trainer.convert import trainable_folder
    from seedbed.trainer.gguf_adapter import write_gguf_adapter

    matrices = write_gguf_adapter(workspace.folder / adapter.path, trainable_folder(weights, cache_folder()), out)
    return {"adapter": name, "file": str(out), "matrices": matrices, "base": str(weights.path)}
