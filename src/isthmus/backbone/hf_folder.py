"""Layer 2: a Hugging Face model folder: found offline, digested and licensed, without torch.

Nothing is fetched. A name is looked up in the local Hugging Face cache; a path is taken as it is.
"""

from __future__ import annotations

import json
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus import iofs
from isthmus.errors import BackboneError, IsthmusError

log = logging.getLogger(__name__)

MAX_JSON = 64 << 20
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
_REPO = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class ModelFolder:
    """Files of one model.

    Parameters
    ----------
    name : str
        What the user typed after ``hf:``.
    path : Path
        Folder that holds ``config.json``.
    config : dict
        The content of ``config.json``.
    weights : tuple of Path
        The weight files: safetensors where there are any, else ``.bin``; empty where none lie in
        the folder (enough for ``weights="random"``).
    licence : str
        From the model card's header; empty where the card says nothing.
    """

    name: str
    path: Path
    config: dict[str, Any]
    weights: tuple[Path, ...]
    licence: str

    def json(self, file: str) -> dict[str, Any]:
        """A JSON object of the folder, or ``{}`` where the file does not exist."""
        path = self.path / file
        if not path.is_file():
            return {}
        try:
            value = iofs.read_json(path, limit=MAX_JSON)
        except IsthmusError as error:
            raise BackboneError(error.what, where=str(path), why=error.why) from None
        if not isinstance(value, dict):
            raise BackboneError("expected a JSON object", where=str(path))
        return value

    def digests(self, *files: str) -> dict[str, str]:
        """SHA-256 of those of the named files that exist."""
        return {
            name: iofs.sha256_file(self.path / name)
            for name in files
            if (self.path / name).is_file()
        }

    def weight_digests(self) -> list[str]:
        """SHA-256 of every weight file, in order of name."""
        return [iofs.sha256_file(path) for path in self.weights]

    def require_weights(self) -> None:
        """Refuse a folder without weights, naming the file that is missing."""
        if not self.weights:
            raise BackboneError(
                "the weights are missing",
                where=str(self.path),
                why="nothing is fetched from a network",
                remedy="Put model.safetensors beside config.json",
            )


def find(name: str) -> ModelFolder:
    """The folder of a model, by path or by the name it has in the local Hugging Face cache.

    Parameters
    ----------
    name : str
        A folder, or ``owner/model`` (``bert-base-uncased``).

    Raises
    ------
    BackboneError
        If it is in neither place, naming what to provide; or if its config is unusable.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _cached(name)
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise BackboneError(
            "the folder holds no config.json",
            where=str(folder),
            remedy="Give a folder written by save_pretrained of transformers",
        )
    found = ModelFolder(name, folder, {}, (), "")
    config = found.json("config.json")
    if not isinstance(config.get("model_type"), str):
        why = "its network would be code from the repository, which is never run"
        raise BackboneError(
            "config.json names no model_type",
            where=str(config_file),
            why=why if "auto_map" in config else "the network cannot be known",
        )
    return ModelFolder(name, folder, config, _weights(folder), _licence(folder))


def _cached(name: str) -> Path:
    """Newest snapshot in the Hugging Face cache; what ``local_files_only`` would find."""
    home = os.environ.get("HF_HOME") or str(Path.home() / ".cache" / "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()
    missing = BackboneError(
        f"the model {name!r} is not on this machine",
        where=f"hf:{name}",
        why=f"no such folder, and it is not in the Hugging Face cache {hub}; nothing is fetched",
        remedy="Give a folder with config.json, model.safetensors and the tokenizer or "
        f"preprocessor files: hf:FOLDER; or run `hf download {name}` where there is a network",
    )
    if not _REPO.fullmatch(name) or ".." in name:
        raise missing
    repository = hub / f"models--{name.replace('/', '--')}"
    reference = repository / "refs" / "main"
    if reference.is_file():
        snapshot = repository / "snapshots" / reference.read_text().strip()
        if snapshot.is_dir():
            return snapshot
    snapshots = [p for p in repository.glob("snapshots/*") if p.is_dir()]
    if len(snapshots) == 1:
        return snapshots[0]
    raise missing


def _weights(folder: Path) -> tuple[Path, ...]:
    """Weight files in the order of their names; an index decides where the file is in shards."""
    for single, index in (
        ("model.safetensors", "model.safetensors.index.json"),
        ("pytorch_model.bin", "pytorch_model.bin.index.json"),
    ):
        if (folder / index).is_file():
            return _shards(folder, folder / index)
        if (folder / single).is_file():
            return (folder / single,)
    return ()


def _shards(folder: Path, index: Path) -> tuple[Path, ...]:
    try:
        names = sorted(set(iofs.read_json(index, limit=MAX_JSON)["weight_map"].values()))
        # Shards lie beside their index. In the cache they are links to blobs elsewhere, so the
        # name is checked, not the place that it resolves to.
        plain = all(isinstance(n, str) and Path(n).name == n and n != ".." for n in names)
    except (KeyError, TypeError, AttributeError, IsthmusError):
        plain = False
    if not plain:
        raise BackboneError("the index of the weight files is not usable", where=str(index))
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        raise BackboneError(
            "weight files are missing", where=str(folder), why=", ".join(absent[:4])
        )
    return tuple(folder / name for name in names)


def _licence(folder: Path) -> str:
    """``license`` (and ``license_name``) from the header of the model card, lower case.

    The header is read line by line: a YAML parser would be far more than two fields need.
    """
    card = folder / "README.md"
    if not card.is_file():
        return ""
    with open(card, "rb") as handle:
        lines = handle.read(64 << 10).decode(errors="replace").splitlines()
    if not lines or lines[0].strip() != "---":
        return ""
    found: list[str] = []
    field = ""
    for line in lines[1:]:
        if line.strip() == "---":
            break
        match = re.match(r"(\w+):\s*(.*)", line)
        if match:
            field = match[1]
        value = match[2] if match else re.sub(r"^\s*-\s*", "", line)
        if field in ("license", "license_name") and value.strip():
            found.append(value.strip().strip("'\"[]").lower())
    return ", ".join(found)


def fingerprint(**parts: Any) -> str:
    """SHA-256 of everything that changes a feature, as canonical JSON."""
    return iofs.sha256_bytes(iofs.canonical_json(parts))


def width(config: dict[str, Any], *keys: str) -> int:
    """The first of `keys` that the config holds as a positive number (a list: its last one)."""
    for key in keys:
        value = config.get(key)
        if isinstance(value, list) and value:
            value = value[-1]
        if isinstance(value, int) and value > 0:
            return value
    raise BackboneError(
        "config.json does not say how wide the features are",
        why=f"none of {', '.join(keys)} is there",
        remedy=json.dumps({"model_type": config.get("model_type")}),
    )
