"""Ready-made settings for `seedbed init`."""

from typing import Any

# The first run proves the plumbing on 2 CPU cores in under 25 minutes: small numbers, and visibly so.
FIRST_RUN: dict[str, Any] = {
    "pool": {"first_target": 60, "step": 60},
    "training": {
        "epochs": 3,
        "batch_rows": 8,
        "micro_batch_rows": 4,
        "max_length": 512,
        "checkpoint_every_steps": 5,
        "evaluate_every_steps": 5,
    },
    "evaluation": {"max_new_tokens": 48, "trained_rows": 0, "unseen_form": False},
}

PRESETS: dict[str, dict[str, Any]] = {"first-run": FIRST_RUN}


def base_settings(preset: str, *, base_url: str, model: str, api_key_env: str) -> dict[str, Any]:
    """Return the settings of a new workspace: one endpoint, the user's or the embedded one, under a preset."""
    endpoint: dict[str, Any] = {"name": "local"}
    if base_url:
        endpoint |= {"base_url": base_url, "model": model}
        if api_key_env:
            endpoint["api_key_env"] = api_key_env
    else:
        endpoint |= {"managed": "llama.cpp", "model": "qwen2.5-coder-0.5b", "max_in_flight": 16}
    return {"teacher": "local", "endpoints": [endpoint], **PRESETS.get(preset, {})}
