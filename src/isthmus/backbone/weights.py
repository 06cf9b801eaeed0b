"""Layer 2: weights from disk: found without a network, read without running code, all used.

Every tensor of a file must land in the network and every tensor of the network must come from
the file, except a classifier head that is dropped anyway; all of them must be finite.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import logging
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus import iofs
from isthmus.backbone.file_forms import form_of, unreadable
from isthmus.errors import BackboneError, IsthmusError, LicenseError, need

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger(__name__)

RANDOM = "random"
# Wrappers under which training scripts store the weights themselves.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema")
_MAX_MEMBERS = 200_000
# Words by which a licence reserves commercial use (SPDX names, Hugging Face tags, titles).
_RESERVED = ("-nc", "noncommercial", "non-commercial", "research", "academic", "amlr", "seer-")
_OPEN = ("apache-", "mit", "bsd", "cc-by-4", "cc-by-sa", "cc0", "isc", "unlicense")


def did_you_mean(name: str, known: Iterable[str], *, n: int = 3) -> str:
    """``"did you mean resnet50, resnet51?"``, or an empty string."""
    lowered = {item.lower(): item for item in known}
    close = difflib.get_close_matches(name.lower(), lowered, n=n, cutoff=0.6)
    return f"did you mean {', '.join(lowered[item] for item in close)}?" if close else ""


def package_folder(package: str) -> Path | None:
    """Folder of an installed package, found without running any of its code."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def require_license(licence: str | None, *, name: str, allow: bool) -> None:
    """Refuse weights whose licence forbids commercial use unless the user accepts it.

    Parameters
    ----------
    licence : str or None
        SPDX-like name; None or empty: unknown, which is logged and not refused.
    name : str
        The backbone, as typed.
    allow : bool
        The user's ``allow_license``.

    Raises
    ------
    LicenseError
        Naming the licence.
    """
    if not licence or licence.lower() in ("unknown", "other"):
        log.warning("%s: the licence of these weights is not recorded; check it", name)
        return
    if any(word in licence.lower() for word in _RESERVED) and not allow:
        raise LicenseError(
            f"the weights' licence {licence!r} forbids commercial use",
            where=name,
            why="results built on them inherit that limit",
            remedy="Accept it with --allow-license (allow_license=True), or choose other weights",
        )
    if not licence.lower().startswith(_OPEN) and not allow:
        log.warning("%s: these weights have a licence of their own (%s); read it", name, licence)


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a ``.safetensors`` or torch file; nothing in the file is ever executed.

    Returns
    -------
    dict of str to Tensor
        On the CPU, contiguous, every one finite.

    Raises
    ------
    BackboneError
        If the file is missing, holds anything but tensors, or a value is NaN or infinite.
    """
    path = Path(path)
    if not path.is_file():
        raise BackboneError(
            "the weights file does not exist", where=str(path), remedy="Check the path of --weights"
        )
    if path.suffix == ".safetensors":
        state = _read_safetensors(path)
    else:
        state = _read_torch(path)
    check_finite(state, where=str(path))
    return state


def check_finite(state: Mapping[str, Tensor], *, where: str) -> None:
    """Refuse weights that hold NaN or infinity, naming the tensor."""
    import torch

    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise BackboneError(
                f"the weights {name!r} hold NaN or infinity",
                where=where,
                remedy="The file was damaged or its training diverged: get it anew",
            )


def load_state(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    where: str,
    dropped: Callable[[str], bool] = lambda name: False,
) -> None:
    """Copy tensors into a module; 100 % of both sides must be accounted for.

    Parameters
    ----------
    module : nn.Module
        Changed in place.
    state : mapping of str to Tensor
        As read by `read_state`.
    where : str
        The file, for messages.
    dropped : callable
        ``dropped(name)`` is true for tensors of a classifier head that plays no part in the
        features: these alone may be absent on either side, or differ in shape. It is logged.

    Raises
    ------
    BackboneError
        Naming the tensors that are missing, unexpected or of another shape.
    """
    import torch

    own = module.state_dict()
    # A counter that only training reads; files from before 2017 lack it.
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    missing = [n for n in own if n not in state and n not in counters and not dropped(n)]
    unexpected = [n for n in state if n not in own and not dropped(n)]
    shapes = [
        f"{n} {tuple(state[n].shape)} for {tuple(own[n].shape)}"
        for n in own
        if n in state and state[n].shape != own[n].shape and not dropped(n)
    ]
    faults = [
        f"{len(names)} {kind}: {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"
        for kind, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", shapes),
        )
        if names
    ]
    if faults:
        raise BackboneError(
            "the weights do not fit the network",
            where=where,
            why="; ".join(faults),
            remedy="Check that the file belongs to this model",
        )
    usable = {n: t for n, t in state.items() if n in own and t.shape == own[n].shape}
    absent = [n for n in own if n not in usable and n not in counters]
    if absent:
        log.info("%s: no tensors for the classifier head (%s), unused", where, ", ".join(absent))
    with torch.no_grad():
        module.load_state_dict(usable, strict=False)


def digest_state(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of tensors, independent of their order."""
    import torch

    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        iofs.tensor_header(path)
        return load_file(path)
    except SafetensorError as error:
        raise unreadable(path, "safetensors file", error) from None
    except IsthmusError as error:
        raise unreadable(path, "safetensors file", ValueError(error.why)) from None


def _read_torch(path: Path) -> dict[str, Tensor]:
    """A ``torch.save`` file through the restricted unpickler (tensors and plain containers)."""
    torch = need("torch", extra="image")
    remedy = "Convert it to .safetensors where it was made, and give that file"
    _check_zip(path)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if form_of(path) != "torch file":
            raise unreadable(path, "torch file", error) from None
        raise BackboneError(
            "the file holds more than tensors and was not opened",
            where=str(path),
            why=_first_reason(str(error)),
            remedy=remedy,
        ) from None
    except Exception as error:  # torch raises many classes on damaged files
        raise unreadable(path, "torch file", error) from None
    for key in _WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict) or not loaded:
        raise BackboneError("the file holds no named tensors", where=str(path), remedy=remedy)
    odd = [str(k) for k, v in loaded.items() if not isinstance(v, torch.Tensor)]
    if odd:
        raise BackboneError(
            f"the file holds things that are not tensors: {', '.join(odd[:4])}",
            where=str(path),
            remedy=remedy,
        )
    state = {str(k): v.detach().contiguous() for k, v in loaded.items()}
    if all(name.startswith("module.") for name in state):  # saved from DataParallel
        state = {name[len("module.") :]: value for name, value in state.items()}
    return state


def _check_zip(path: Path) -> None:
    """Bombs and absurd archives are refused before torch opens them."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    # torch stores tensors uncompressed, so the archive can hardly grow when it is opened.
    if len(entries) > _MAX_MEMBERS or unpacked > 2 * path.stat().st_size + (1 << 20):
        raise BackboneError(
            "the weights archive would grow when unpacked and was not opened",
            where=str(path),
            why=f"{path.stat().st_size} bytes claim to be {unpacked}",
        )


def _first_reason(message: str) -> str:
    """The line of torch's long message that names what was refused."""
    for line in message.splitlines():
        if "Unsupported" in line or "GLOBAL" in line or "global" in line:
            return line.strip()[:200]
    return message.strip().splitlines()[0][:200] if message.strip() else "refused by torch"


def origin(weights: Any) -> str:
    """``pretrained``, ``random`` or ``file``: how the weights were chosen."""
    if weights is None:
        return "pretrained"
    return RANDOM if weights == RANDOM else "file"


def cached_torch_file(url: str) -> Path | None:
    """A file that torch.hub would fetch from `url`, if it lies in its cache and is whole.

    Raises
    ------
    BackboneError
        If the bytes do not match the digest in its name (``resnet50-0676ba61.pth``).
    """
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch"
    home = Path(os.environ.get("TORCH_HOME", default)).expanduser()
    file = home / "hub" / "checkpoints" / url.rpartition("/")[2]
    if not file.is_file():
        return None
    named = re.search(r"-([0-9a-f]{8,64})\.", file.name)
    if named and not iofs.sha256_file(file).startswith(named[1]):
        raise BackboneError(
            "the cached weights are damaged",
            where=str(file),
            why="their SHA-256 is not the one in the file's name",
            remedy="Delete the file and get it anew",
        )
    return file


def cached_hub_file(repository: str, name: str) -> Path | None:
    """A file of a Hugging Face repository, if it lies in the local cache. No network is used."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = try_to_load_from_cache(repository, name)
    return Path(found) if isinstance(found, str) else None
