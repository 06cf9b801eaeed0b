"""Checkpoints: safetensors + JSON, whole or not there, with a digest; nothing is ever executed.

The tensors go to a file of a new name first; ``checkpoint.json`` then names it with its digest.
Whenever the process is killed, the JSON file points to a whole set of tensors.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isthmus import iofs
from isthmus.errors import BundleError, IsthmusError, UsageError

log = logging.getLogger(__name__)

NAME = "checkpoint.json"
LOG = "metrics.jsonl"
FORMAT = 1
MAX_LOG = 1 << 30
# what safetensors writes and reads back
KINDS = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn,
    torch.float8_e5m2, torch.complex64, torch.bool, torch.int64, torch.int32, torch.int16,
    torch.int8, torch.uint64, torch.uint32, torch.uint16, torch.uint8,
)  # fmt: skip


def save(
    folder: str | Path,
    *,
    step: int,
    tensors: Mapping[str, Any],
    lines: Sequence[Mapping[str, Any]],
    identity: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> None:
    """Write a checkpoint; the one before it is removed once this one stands.

    Parameters
    ----------
    step : int
        Steps that are done.
    tensors : mapping of str to tensor
        Other values, as ``get_extra_state`` gives them, must be plain: they go to the JSON file.
    lines : sequence of dict
        The metric log so far, one JSON object a line in ``metrics.jsonl``.
    identity : mapping
        What the run is: another run's checkpoint is refused.
    facts : mapping
        Plain values to find again.

    Raises
    ------
    UsageError
        Naming a value that neither file can hold.
    """
    from safetensors.torch import save as to_bytes

    check_kept(tensors)
    values = {name: value for name, value in tensors.items() if not isinstance(value, Tensor)}
    folder = Path(folder)
    file = f"step-{step:09d}.safetensors"
    arrays = to_host({name: value for name, value in tensors.items() if name not in values})
    digest = iofs.write_bytes(folder / file, to_bytes(arrays))
    text = b"".join(iofs.canonical_json(line) + b"\n" for line in lines)
    iofs.write_bytes(folder / LOG, text)
    iofs.write_json(
        folder / NAME,
        {
            "format": FORMAT,
            "step": step,
            "tensors": file,
            "digest": digest,
            "lines": len(lines),
            "log": iofs.sha256_bytes(text),
            "identity": dict(identity),
            "facts": dict(facts),
            **({"values": values} if values else {}),
        },
    )
    iofs.remove(path for path in folder.glob("step-*.safetensors") if path.name != file)


def load(
    folder: str | Path, *, identity: Mapping[str, Any]
) -> tuple[int, dict[str, Any], list[dict[str, Any]], dict[str, Any]] | None:
    """The checkpoint in a folder: step, tensors by name (and what else was kept under one), log
    lines, facts; None where there is none.

    Raises
    ------
    UsageError
        If it belongs to another run, naming what differs.
    BundleError
        If a file is damaged.
    """
    from safetensors.torch import load as from_bytes

    folder = Path(folder)
    if not (folder / NAME).exists():
        return None
    iofs.remove(iofs.stale_parts(folder))
    head = iofs.read_json(folder / NAME)
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise BundleError("not a checkpoint of this version", where=str(folder / NAME))
    differs = sorted(
        key
        for key in {*identity, *head["identity"]}
        if identity.get(key) != head["identity"].get(key)
    )
    if differs:
        raise UsageError(
            "the folder holds the checkpoint of another run",
            where=str(folder),
            why="; ".join(
                f"{k}: {str(head['identity'].get(k))[:60]} there, {str(identity.get(k))[:60]} now"
                for k in differs[:3]
            ),
            remedy="Give another folder, or the same settings and data again",
        )
    path = iofs.open_inside(folder, str(head["tensors"]))
    iofs.check_digest(path, head["digest"])
    iofs.tensor_header(path)
    tensors: dict[str, Any] = from_bytes(iofs.read_bytes(path))
    tensors |= head.get("values", {})
    # The log may be ahead of the checkpoint where the process died between the two.
    raw = iofs.read_bytes(folder / LOG, limit=MAX_LOG).splitlines(keepends=True)[: head["lines"]]
    if iofs.sha256_bytes(b"".join(raw)) != head["log"]:
        raise BundleError("the metric log is not the checkpoint's", where=str(folder / LOG))
    lines = [iofs.parse_json(line) for line in raw]
    log.info("resumed at step %d from %s", head["step"], folder)
    return int(head["step"]), tensors, lines, dict(head["facts"])


def gather_state(
    modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors by name (and what modules keep beside them), and the optimizers' plain values."""
    tensors: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            tensors[f"module/{name}/{key}"] = value
    for name, optimizer in optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                where = f"optimizer/{name}/{index}/{key}"
                if isinstance(value, Tensor):
                    tensors[where] = value
                else:
                    plain[where] = value
    return tensors, plain


def restore_state(
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    tensors: Mapping[str, Any],
    plain: Mapping[str, Any],
) -> None:
    """Put back what `gather_state` took; every tensor of the modules must be there.

    Raises
    ------
    BundleError
        Naming tensors that are missing or left over.
    """
    for name, module in modules.items():
        start = f"module/{name}/"
        state = {key[len(start) :]: t for key, t in tensors.items() if key.startswith(start)}
        try:
            module.load_state_dict(state, strict=True)
        except RuntimeError as error:
            raise BundleError(
                "the checkpoint does not fit the modules", where=name, why=str(error)[:300]
            ) from None
    for name, optimizer in optimizers.items():
        start = f"optimizer/{name}/"
        states: dict[int, dict[str, Any]] = {}
        for key, value in [*tensors.items(), *plain.items()]:
            if key.startswith(start):
                index, _, field = key[len(start) :].partition("/")
                states.setdefault(int(index), {})[field] = value
        members: list[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
        for at, state in states.items():
            for field, value in state.items():
                if isinstance(value, Tensor) and value.shape == members[at].shape:
                    # laid out as the weight is (channels_last): fused steps pair by place
                    state[field] = torch.empty_like(members[at], dtype=value.dtype).copy_(value)
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": states, "param_groups": groups})


def check_kept(state: Mapping[str, Any]) -> None:
    """Refuse what a checkpoint could not give back as it is.

    Raises
    ------
    UsageError
        Naming the first such value.
    """
    for name, value in state.items():
        if not isinstance(value, Tensor):
            why = (
                "" if _returns(value) else f"a {type(value).__name__} that JSON does not give back"
            )
        elif value.layout != torch.strided:
            why = f"a sparse tensor ({str(value.layout).removeprefix('torch.')})"
        elif value.is_meta:
            why = "a tensor on the meta device, where nothing is stored"
        else:
            why = "" if value.dtype in KINDS else f"a tensor of {value.dtype}"
        if why:
            raise UsageError(
                f"{name!r} cannot be kept in a checkpoint",
                why=why,
                remedy="Keep it as a plain tensor (float32, int64, ...) or as numbers, text and "
                "lists, or train without a folder",
            )


def _returns(value: Any) -> bool:
    """Whether JSON gives the same back."""
    try:
        return bool(iofs.parse_json(iofs.canonical_json(value)) == value)
    except (IsthmusError, TypeError, ValueError, RecursionError):
        return False


def to_host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the host, contiguous, no two sharing memory (tied weights are written twice)."""
    out: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        if value.untyped_storage().data_ptr() in seen:
            value = value.clone()
        seen.add(value.untyped_storage().data_ptr())
        if value.untyped_storage().nbytes() != value.numel() * value.element_size():
            value = value.clone()  # a view: safetensors would refuse the larger storage
        out[name] = value
    return out
