"""Layer 2: a torch module as a fast function: ONNX Runtime on a CPU, torch autocast on a GPU.

The module is exported once, its output compared with torch on the same input, and the ONNX file
kept under ``<cache>/onnx/<fingerprint>.onnx`` beside a JSON record with its SHA-256. A later run
reads that file and never imports torch.

Images go through the network one by one, on as many threads as there are cores, each on one core
(`by_rows`). With the default network one core needs 12.7 ms an image at batch size 1 and 13.4 at
16; one session with two threads needs 7.0 ms at its best batch size, more than half of the former.
And a feature cannot depend on its batch-mates, because there are none.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import iofs
from isthmus.backbone.export import digests, export, frozen, must_be_unchanged, torch_call
from isthmus.errors import BackboneError, IsthmusError, need
from isthmus.types import Array

if TYPE_CHECKING:
    from torch import nn

    from isthmus.backbone.prebuilt import Prebuilt

log = logging.getLogger(__name__)

PARITY = 1e-4  # largest |onnx - torch| allowed, in units of the largest |torch| feature
_RECORD_VERSION = 1
_locks: dict[str, threading.Lock] = {}
_locks_guard = threading.Lock()


@dataclass(frozen=True)
class Forward:
    """A compiled network: ``forward(*arrays) -> (n, d) float32``; safe to call from any thread.

    Parameters
    ----------
    engine : str
        ``"onnxruntime"``, ``"torch"`` (CPU fallback) or ``"torch-cuda"``.
    why : str
        Empty, or why a slower engine than planned is in use.
    parity : float or None
        Largest difference from torch found at export, relative to the largest feature.
    """

    call: Callable[..., Array] = field(repr=False)
    engine: str
    why: str = ""
    parity: float | None = None

    def __call__(self, *arrays: Array) -> Array:
        return self.call(*arrays)


def cpu_threads() -> int:
    """Threads to use: ``OMP_NUM_THREADS`` where set, else the cores this process may run on."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def session(model: str | Path | bytes, *, threads: int | None = None) -> Any:
    """ONNX Runtime CPU session.

    Parameters
    ----------
    model : path or bytes
        An ONNX file, or its bytes.
    threads : int, optional
        Threads inside one operator; default `cpu_threads`.

    Returns
    -------
    onnxruntime.InferenceSession

    Raises
    ------
    BackboneError
        If ONNX Runtime refuses the model.
    """
    ort = need("onnxruntime", extra="image")
    options = ort.SessionOptions()
    options.intra_op_num_threads = cpu_threads() if threads is None else threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # errors only; they are raised as well
    # Decoding threads want the same cores: on busy cores spinning cost a quarter of the rate.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = model if isinstance(model, bytes) else str(model)
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ORT raises its own unrelated classes
        raise BackboneError(
            "ONNX Runtime cannot load the model",
            where="" if isinstance(model, bytes) else str(model),
            why=str(error).splitlines()[0][:300],
        ) from None


def by_rows(call: Callable[..., Array], rows: int) -> Callable[..., Array]:
    """Run a function of a fixed number of rows on any number, in parallel threads.

    Parameters
    ----------
    call : callable
        ``call(*arrays) -> (rows, d)`` for arrays of exactly `rows` rows; safe from any thread.
    rows : int
        Rows of one call. The last part is filled up with zeros, whose output is dropped.

    Returns
    -------
    callable
        ``(n, ...) -> (n, d)``. Equal parts are computed once, so filling a batch up by repeating
        its rows costs nothing.
    """
    pool: list[ThreadPoolExecutor] = []
    guard = threading.Lock()

    def parts(arrays: tuple[Array, ...]) -> list[tuple[Array, ...]]:
        made = []
        for start in range(0, len(arrays[0]), rows):
            part = tuple(array[start : start + rows] for array in arrays)
            short = rows - len(part[0])
            if short:
                part = tuple(
                    np.concatenate([p, np.zeros((short, *p.shape[1:]), p.dtype)]) for p in part
                )
            made.append(part)
        return made

    def run(*arrays: Array) -> Array:
        places: dict[bytes, int] = {}
        todo: list[tuple[Array, ...]] = []
        order: list[int] = []
        for part in parts(arrays):
            place = places.setdefault(b"".join(p.tobytes() for p in part), len(todo))
            if place == len(todo):
                todo.append(part)
            order.append(place)
        if len(todo) == 1:
            done = [call(*todo[0])]
        else:
            with guard:
                if not pool:
                    pool.append(ThreadPoolExecutor(cpu_threads(), "isthmus-forward"))
            done = list(pool[0].map(lambda part: call(*part), todo))
        return np.concatenate([done[place] for place in order])[: len(arrays[0])]

    return run


def resolve_device(device: str | None = None) -> str:
    """``"cpu"`` or a CUDA device name.

    Parameters
    ----------
    device : str, optional
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``; None takes a GPU where there is one. torch is imported
        only where a GPU driver is present or a GPU was asked for.
    """
    if device == "cpu":
        return "cpu"
    if device is None:
        if not Path("/proc/driver/nvidia/gpus").is_dir():
            return "cpu"
        try:
            import torch
        except ImportError:
            return "cpu"
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not device.startswith("cuda"):
        raise BackboneError(
            f"unknown device {device!r}", remedy="Use cpu, cuda or cuda:N (or leave it out)"
        )
    torch = need("torch", extra="image")
    if not torch.cuda.is_available():
        raise BackboneError(
            f"the device {device!r} is not available",
            why="torch sees no CUDA device",
            remedy="Use --device cpu",
        )
    return device


def precision(device: str) -> str:
    """Arithmetic on that device, a part of the fingerprint: ``"float32"`` or ``"autocast"``."""
    return "autocast" if device.startswith("cuda") else "float32"


def compile_module(
    build: Callable[[], nn.Module],
    example: Array | Sequence[Array],
    *,
    fingerprint: str,
    device: str | None = None,
    rows: int | None = None,
    dynamic: Mapping[int, str] | None = None,
    checks: Sequence[Array | Sequence[Array]] = (),
    prebuilt: Prebuilt | None = None,
    plain: bool = False,
) -> Forward:
    """A torch module as a function of NumPy arrays.

    Parameters
    ----------
    build : callable
        Returns the module; called only if no valid ONNX file is cached. The module is put in
        eval mode and its parameters are frozen.
    example : ndarray or sequence of ndarray
        Input(s) in the order of ``forward``, as they will come in use (shapes and dtypes too).
        The parity check runs on it: use real-looking values, and at least 2 rows where the
        batch is dynamic.
    fingerprint : str
        Name of the weights and of everything that changes the output; the cache key.
    device : str, optional
        See `resolve_device`.
    rows : int, optional
        Export for this many rows and run parts of that size in parallel (see `by_rows`); the
        compiled function then takes any number of rows. 1 is best for images. None: one
        session that uses all threads, for exactly the shapes of `example` (or `dynamic`).
    dynamic : mapping of int to str, optional
        Axes that vary between calls, with their names (``{0: "batch", 1: "length"}``), for every
        input that has them. None: the shapes of `example` are fixed, which is faster.
    checks : sequence, optional
        Further inputs for the parity check (other lengths, say).
    prebuilt : Prebuilt, optional
        Gives the ONNX file without torch on a CPU; then `build` is called only if that fails.
    plain : bool
        Whether `forward` takes the same way for every input, so that it may be traced.

    Returns
    -------
    Forward
        On a CPU ONNX Runtime; torch (channels_last) where the export fails or differs, which is
        logged and recorded.

    Raises
    ------
    BackboneError
        If the module's own output is not finite.
    """
    resolved = resolve_device(device)
    first = _as_tuple(example)
    if resolved != "cpu":
        return Forward(torch_call(frozen(build()), resolved), "torch-cuda")
    with _locks_guard:
        lock = _locks.setdefault(fingerprint, threading.Lock())
    with lock:
        cached = _read_cached(fingerprint, rows)
        if isinstance(cached, Forward):
            return cached
        inputs = [first, *map(_as_tuple, checks)]
        if prebuilt is not None and cached is None:
            try:
                return _keep(prebuilt.assemble(), inputs, prebuilt.answers(), fingerprint, rows)
            except Exception as error:  # whatever it is, torch can do without
                log.warning("%s is not assembled but exported anew: %s", prebuilt.name, error)
        module = frozen(build())
        if cached is not None:
            return Forward(torch_call(module, "cpu"), "torch", cached)
        return _export_and_keep(module, inputs, fingerprint, rows, dynamic, plain)


def record_path(fingerprint: str) -> Path:
    """Where the JSON record of a compiled network lies; the ONNX file is beside it."""
    from isthmus.backbone.store import cache_root

    return cache_root() / "onnx" / f"{fingerprint}.json"


def recorded_width(fingerprint: str) -> int | None:
    """Number of features of a network that was compiled before, without opening it."""
    record = _read_record(record_path(fingerprint))
    return int(record["width"]) if record is not None and "width" in record else None


def _read_record(path: Path) -> dict[str, Any] | None:
    """The record as written; None where there is none, it is of an older form, or damaged."""
    if not path.is_file():
        return None
    try:
        record = iofs.read_json(path, limit=1 << 20)
        if record.pop("self") != _self_digest(record):
            raise IsthmusError("its content is not what was written", where=str(path))
        return record if record["version"] == _RECORD_VERSION else None
    except (OSError, AttributeError, KeyError, TypeError, ValueError, IsthmusError) as error:
        log.warning("record %s of a compiled network is damaged (%s)", path, error)
        return None


def _as_tuple(example: Array | Sequence[Array]) -> tuple[Array, ...]:
    return (example,) if isinstance(example, np.ndarray) else tuple(example)


def _versions() -> dict[str, str]:
    """Versions that decide whether an export works; a failure is retried when they change."""
    found = {}
    for name in ("torch", "onnxscript", "onnxruntime"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    return found


def _read_cached(fingerprint: str, rows: int | None) -> Forward | str | None:
    """The cached network; or the recorded reason to use torch; or None: nothing usable."""
    record = _read_record(record_path(fingerprint))
    if record is None or record["rows"] != rows:
        return None
    if record["engine"] == "torch":
        return str(record["why"]) if record["versions"] == _versions() else None
    model_file = record_path(fingerprint).with_suffix(".onnx")
    try:
        raw = model_file.read_bytes()
        if iofs.sha256_bytes(raw) != record["sha256"]:
            raise IsthmusError("its bytes are not the recorded ones", where=str(model_file))
        return Forward(_ort_call(raw, rows), "onnxruntime", "", float(record["parity"]))
    except (OSError, IsthmusError) as error:
        log.warning("compiled network %s is damaged (%s): it is made anew", model_file, error)
        return None


def _export_and_keep(
    module: nn.Module,
    inputs: list[tuple[Array, ...]],
    fingerprint: str,
    rows: int | None,
    dynamic: Mapping[int, str] | None,
    plain: bool,
) -> Forward:
    """Export, compare with torch on every input, keep the file; on any failure keep the reason."""
    slow = torch_call(module, "cpu")
    before = digests(module)
    expected = [slow(*arrays) for arrays in inputs]
    for value in expected:
        if not np.isfinite(value).all():
            raise BackboneError(
                "the network's features are not finite", why="NaN or infinity on a plain input"
            )
    try:
        raw = export(module, tuple(array[:rows] for array in inputs[0]), dynamic, plain=plain)
        must_be_unchanged(before, digests(module))
        made = _keep(raw, inputs, expected, fingerprint, rows)
    except Exception as error:  # exporters raise anything; the reason is kept and logged
        why = f"{type(error).__name__}: {str(error).strip()[:300]}"
        log.warning("no ONNX for this network (%s): torch is used, which is slower", why)
        must_be_unchanged(before, digests(module))
        record = _new_record(expected, rows) | {"engine": "torch", "why": why}
        _write_record(record_path(fingerprint), record)
        return Forward(slow, "torch", why)
    return made


def _keep(
    raw: bytes,
    inputs: list[tuple[Array, ...]],
    expected: list[Array],
    fingerprint: str,
    rows: int | None,
) -> Forward:
    """Compare an ONNX file with torch's features of every input, and keep it."""
    call = _ort_call(raw, rows)
    parity = max(_difference(call(*a), b) for a, b in zip(inputs, expected, strict=True))
    if parity > PARITY:
        raise BackboneError(f"ONNX and torch differ by {parity:.1e} (allowed {PARITY:.0e})")
    record_file = record_path(fingerprint)
    digest = iofs.write_bytes(record_file.with_suffix(".onnx"), raw)
    facts = {"engine": "onnxruntime", "sha256": digest, "parity": parity}
    _write_record(record_file, _new_record(expected, rows) | facts)
    log.info("network kept as ONNX, parity with torch %.1e", parity)
    return Forward(call, "onnxruntime", "", parity)


def _new_record(expected: list[Array], rows: int | None) -> dict[str, Any]:
    return {
        "version": _RECORD_VERSION,
        "rows": rows,
        "width": int(expected[0].shape[-1]),
        "versions": _versions(),
    }


def _self_digest(record: dict[str, Any]) -> str:
    return iofs.sha256_bytes(iofs.canonical_json(record))


def _write_record(path: Path, record: dict[str, Any]) -> None:
    """The record carries its own digest, so that a flipped byte in it is seen as well."""
    iofs.write_json(path, record | {"self": _self_digest(record)})


def _ort_call(raw: bytes, rows: int | None) -> Callable[..., Array]:
    runner = session(raw, threads=None if rows is None else 1)
    names = [item.name for item in runner.get_inputs()]

    def call(*arrays: Array) -> Array:
        feeds = {
            name: np.ascontiguousarray(array) for name, array in zip(names, arrays, strict=True)
        }
        return np.asarray(runner.run(None, feeds)[0], dtype=np.float32)

    return call if rows is None else by_rows(call, rows)


def _difference(found: Array, expected: Array) -> float:
    """Largest difference, in units of the largest expected value; infinite if shapes differ."""
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    scale = float(np.abs(expected).max(initial=0.0)) or 1.0
    return float(np.abs(found - expected).max(initial=0.0)) / scale
