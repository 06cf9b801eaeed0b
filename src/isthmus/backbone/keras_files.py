"""Layer 2: look into ``.keras`` and ``.h5`` files before Keras does, and refuse what could run
code, reach other files or fill the memory.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

from isthmus.backbone.file_forms import form_of, unreadable
from isthmus.errors import BackboneError, need

# Layers whose stored form is code or a pickle.
_CODE = {"Lambda", "__lambda__", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer"}
MAX_CONFIG = 64 << 20


def check_file(path: str | Path) -> dict[str, Any] | None:
    """Refuse a hostile file; return the model's configuration where there is one.

    Returns
    -------
    dict or None
        None for an ``.h5`` file that holds weights only.

    Raises
    ------
    BackboneError
        If the file is damaged, or holds code, foreign classes, outside links or a bomb.
    """
    path = Path(path)
    if not path.is_file():
        raise BackboneError(
            "the model file does not exist", where=str(path), remedy="Check the path"
        )
    archive = path.suffix.lower() == ".keras"
    config = _check_archive(path) if archive else _check_hdf5(path)
    if config is not None:
        _check_config(config, path)
    return config


def _refuse(path: Path, why: str) -> BackboneError:
    return BackboneError(
        "the Keras file was not opened",
        where=str(path),
        why=why,
        remedy="Save the model again without it, or export it to ONNX where you trust it",
    )


def _check_archive(path: Path) -> dict[str, Any]:
    if not zipfile.is_zipfile(path):
        raise unreadable(path, ".keras archive")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        size = sum(entry.file_size for entry in entries)
        if len(entries) > 10_000 or size > 20 * path.stat().st_size + (1 << 20):
            raise _refuse(path, f"{path.stat().st_size} bytes claim to be {size} when unpacked")
        for entry in entries:
            parts = Path(entry.filename.replace("\\", "/")).parts
            if entry.filename.startswith(("/", "\\")) or ".." in parts or ":" in entry.filename:
                raise _refuse(path, f"an entry leads outside: {entry.filename!r}")
        names = {entry.filename for entry in entries}
        if form_of(path) != ".keras archive":
            raise unreadable(path, ".keras archive")
        if "config.json" not in names or archive.getinfo("config.json").file_size > MAX_CONFIG:
            raise _refuse(path, "it has no usable config.json")
        try:
            config = json.loads(archive.read("config.json"))
            if "model.weights.h5" in names:
                with archive.open("model.weights.h5") as handle:
                    _check_links(handle, path, ".keras archive")
        except (ValueError, RecursionError, zipfile.BadZipFile, zlib.error) as error:
            raise unreadable(path, ".keras archive", error) from None
    if not isinstance(config, dict):
        raise _refuse(path, "config.json is no object")
    return config


def _check_hdf5(path: Path) -> dict[str, Any] | None:
    h5py = need("h5py", extra="keras")
    with open(path, "rb") as handle:
        _check_links(handle, path, "HDF5 file")
    with h5py.File(path, "r") as file:
        raw = file.attrs.get("model_config")
    if raw is None:
        return None
    try:
        config = json.loads(raw)
    except (ValueError, TypeError, RecursionError):
        raise _refuse(path, "its model configuration is not JSON") from None
    if not isinstance(config, dict):
        raise _refuse(path, "its model configuration is no object")
    return config


def _check_links(handle: Any, path: Path, form: str) -> None:
    """HDF5 may point into other files of this machine; ours never do."""
    h5py = need("h5py", extra="keras")
    try:
        with h5py.File(handle, "r") as file:
            groups = [file]
            while groups:
                group = groups.pop()
                for name in group:
                    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                        raise _refuse(path, f"{name!r} is a link to elsewhere")
                    item = group[name]
                    if isinstance(item, h5py.Group):
                        groups.append(item)
                    elif item.external or item.is_virtual:
                        raise _refuse(path, f"the data of {name!r} lie in another file")
                    elif item.nbytes > 50 * max(item.id.get_storage_size(), 1) + (1 << 20):
                        raise _refuse(path, f"{name!r} claims {item.nbytes} bytes it does not hold")
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise unreadable(path, form, error) from None


def _check_config(config: Any, path: Path) -> None:
    """Only layers of Keras itself, none of which carries code."""
    waiting = [config]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            name, module = item.get("class_name"), item.get("module")
            if name in _CODE:
                raise _refuse(path, f"it holds a {name} layer, which is code")
            foreign = isinstance(module, str) and module.split(".")[0] not in ("keras", "builtins")
            if foreign or (isinstance(name, str) and ">" in name):
                raise _refuse(path, f"it needs the class {module or ''} {name}, not part of Keras")
            if module == "builtins" and name not in ("function", "dict", "tuple", "list", None):
                raise _refuse(path, f"it names the Python object {name}")
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def scales_inside(config: dict[str, Any] | None) -> bool:
    """Whether the model has a scaling layer of its own, so that it wants pixels 0..255."""
    text = json.dumps(config)
    return any(f'"class_name": "{layer}"' in text for layer in ("Rescaling", "Normalization"))
