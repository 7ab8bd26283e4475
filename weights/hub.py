"""Weights from the Hugging Face hub, through `huggingface_hub` where it is installed."""

from pathlib import Path

import httpx

from seedbed.core.errors import ConfigError, WeightsError
from seedbed.weights.catalogue import HubFile

# Safetensors and what a tokenizer needs; never pickle (*.bin, *.pt) and never code (*.py).
ALLOWED_FILES = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "vocab*",
    "merges.txt",
    "spiece.model",
    "LICENSE*",
    "README.md",
)


def fetch_repository(repository: str, revision: str | None) -> Path:
    """Download a repository's safetensors and tokenizer into the hub's own cache, and return the folder.

    Raises:
        ConfigError: `huggingface_hub` is not installed.
        WeightsError: The hub does not give it.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise ConfigError(f"hub:{repository} needs huggingface_hub; install seedbed[train]") from error
    try:
        folder = huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=list(ALLOWED_FILES))
    except (httpx.HTTPError, OSError, ValueError) as error:  # HfHubHTTPError and "not in the cache" are OSErrors
        raise WeightsError(f"hub:{repository} could not be fetched: {_first_line(error)}") from error
    return Path(folder)


def fetch_file(hub: HubFile, target: Path) -> None:
    """Download one pinned file to `target`.

    Raises:
        WeightsError: `huggingface_hub` is not installed, or the hub does not give it.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise WeightsError("huggingface_hub is not installed") from error
    try:
        found = huggingface_hub.hf_hub_download(
            hub.repository, hub.file, revision=hub.revision, local_dir=target.parent / ".hub"
        )
    except (httpx.HTTPError, OSError, ValueError) as error:  # HfHubHTTPError and "not in the cache" are OSErrors
        raise WeightsError(f"hub:{hub.repository} could not be fetched: {_first_line(error)}") from error
    Path(found).replace(target)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
