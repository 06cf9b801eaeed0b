"""Layer 7: a saved model as a plain script with its weights beside it; no isthmus is needed."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from isthmus import __version__, iofs
from isthmus.errors import BackboneError, UsageError
from isthmus.serve.bundle import LoadedModel, load_model
from isthmus.serve.eject_steps import Plain, plain_models
from isthmus.types import Array

PARTS = Path(__file__).with_name("ejected")
THINGS = {
    "image": "photos",
    "text": "texts",
    "audio": "recordings",
    "table": "rows of a table",
    "features": "rows of features",
}
USAGE = {
    "image": "PHOTO_OR_FOLDER ...",
    "text": "TEXTS.csv",
    "audio": "RECORDING_OR_FOLDER ...",
    "table": "TABLE.csv",
    "features": "ROWS.npz",
}


@dataclass
class Script:
    """What is collected before anything is written.

    Parameters
    ----------
    imports : set of str
    pieces : list of (template name, values)
    tensors : dict of str to ndarray
        What the script calls W.
    files : dict of str to bytes
        Further files beside the script, by suffix.
    needs : list of str
        Distributions that the script imports.
    """

    imports: set[str] = field(default_factory=set)
    pieces: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    tensors: dict[str, Array] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    needs: list[str] = field(default_factory=lambda: ["numpy", "safetensors"])

    def add(self, name: str, *imports: str, needs: tuple[str, ...] = (), **values: Any) -> None:
        """Append a template; a value that is no text is written as Python would show it."""
        self.imports |= set(imports)
        self.needs += [name for name in needs if name not in self.needs]
        shown = {k.upper(): v if isinstance(v, str) else _shown(v) for k, v in values.items()}
        self.pieces.append((name, shown))


def eject(
    folder: str | Path, out: str | Path | None = None, *, overwrite: bool = False
) -> list[Path]:
    """Write the script and what it needs.

    Parameters
    ----------
    folder : path
        What `isthmus transfer --out` wrote.
    out : path, optional
        Name of the script; the other files have its name and another suffix. Default:
        ``ejected/predict.py`` in the folder.
    overwrite : bool, default=False
        Replace files that are there.

    Returns
    -------
    list of Path
        The files, the script first.

    Raises
    ------
    UsageError
        If the name cannot be used, files are there, or a part of the model has no plain form.
    BundleError, BackboneError
        As `load_model`.
    """
    found = load_model(folder)
    path = Path(folder) / "ejected" / "predict.py" if out is None else Path(out)
    if path.suffix != ".py":
        raise UsageError(
            "the script needs a name that ends in .py", where=str(path), remedy=f"Name it {path}.py"
        )
    script = Script()
    _add_model(script, found)
    _add_input(script, found)
    text = _composed(script, found, path.name)
    targets = {path.with_suffix(suffix): content for suffix, content in script.files.items()}
    weights = path.with_suffix(".safetensors")
    there = [p for p in (path, weights, *targets) if p.exists()]
    if there and not overwrite:
        raise UsageError(
            "a file of that name exists",
            where=", ".join(map(str, there)),
            remedy="Name another script with --out, or add --overwrite",
        )
    try:
        iofs.write_tensors(weights, script.tensors)
        for target, content in targets.items():
            iofs.write_bytes(target, content)
        iofs.write_text(path, text)
    except OSError as error:
        raise UsageError(
            "the script cannot be written",
            where=str(path),
            why=error.strerror or str(error),
            remedy="Give --out another folder, or free some space",
        ) from None
    return [path, weights, *targets]


def _add_model(script: Script, found: LoadedModel) -> None:
    """The models of the route: their steps, and the functions that these need."""
    models = plain_models(found.model)
    used = {step.name for model in models for step in model.steps}
    lines = []
    for i, model in enumerate(models):
        lines.append(f"    {_line(script, i, model)!r},")
    script.add("model", classes=list(found.classes), models="\n".join(lines))
    for name in ("clip", "unit", "relu", "rbf", "gaussians", "nearest"):
        if name in used:
            script.add(name)
    functions = ", ".join(f'"{name}": {name}' for name in sorted(used | {"linear"}))
    tail = {"classification": "classes"}.get(found.task, found.task)
    script.add(f"tail_{tail}", "import csv", "import sys", steps=f"{{{functions}}}")
    script.add("answer")


def _line(script: Script, i: int, model: Plain) -> tuple[float, list[str], float, bool]:
    """The entry of one model in the script; its arrays go to the weights."""
    steps = []
    for k, step in enumerate(model.steps):
        place = f"{i}.{k}"
        script.tensors |= {f"{place}.{name}": value for name, value in step.arrays.items()}
        steps.append(f"{step.name} {place}" if step.arrays else step.name)
    script.tensors[f"{i}.columns"] = model.columns
    if model.prior is not None:
        script.tensors[f"{i}.prior"] = np.asarray(model.prior, dtype=np.float64)
    return float(model.weight), steps, float(model.temperature), model.prior is not None


def _add_input(script: Script, found: LoadedModel) -> None:
    """From files to features: the backbone, its preprocessing and its network."""
    backbone: Any = found.backbone
    kind = type(getattr(backbone, "inner", backbone)).__name__  # of a trained one, what it wraps
    reader = {
        "ImageBackbone": _image,
        "TextBackbone": _text,
        "WakewordBackbone": _audio,
        "HFAudioBackbone": _waves,
        "TabularBackbone": _table,
        "IdentityBackbone": _features,
    }.get(kind)
    if reader is None:
        raise UsageError(
            f"the backbone {backbone.name} has no plain form, so this model cannot be ejected",
            why=f"a {kind} is not among those that have one",
            remedy="Keep the folder and use `isthmus predict`, or train with the default backbone",
        )
    reader(script, found, backbone)


def _image(script: Script, found: LoadedModel, backbone: Any) -> None:
    _one_network(script, backbone)
    script.add(
        "image",
        "from PIL import Image, ImageOps",
        needs=("pillow",),
        recipe={key: backbone.recipe[key] for key in ("steps", "channels")},
    )
    _files(script, found)


def _text(script: Script, found: LoadedModel, backbone: Any) -> None:
    from isthmus.backbone.texts import BUCKETS
    from isthmus.backbone.transformers import ROWS

    _one_network(script, backbone)
    tokenizer = getattr(backbone, "inner", backbone).tokenizer
    script.files[".tokenizer.json"] = tokenizer.to_json().encode()
    limit = int(backbone.recipe["max_tokens"])
    columns = found.manifest["input"]["reading"].get("text", "text")
    script.add("one_file")
    script.add(
        "text",
        "import tokenizers",
        needs=("tokenizers",),
        lengths=[n for n in BUCKETS if n < limit] or [limit],
        limit=limit,
        pad=int(backbone.recipe["pad_id"]),
        prefix=repr(backbone.recipe["prefix"]),
        rows=ROWS,
        columns=[columns] if isinstance(columns, str) else columns,
    )


def _audio(script: Script, found: LoadedModel, backbone: Any) -> None:
    from isthmus.backbone import wakeword

    for name, raw in wakeword.networks().items():
        script.files[f".{name}.onnx"] = raw
    pooled = {"mean": "windows.mean(0)", "max": "windows.max(0)"}
    pooled["meanmax"] = f"{pooled['mean']}, {pooled['max']}"
    _waveform(script)
    script.add(
        "audio",
        numbers=", ".join(
            str(getattr(wakeword, name)) for name in ("RATE", "HOP", "FRAME", "WINDOW", "STRIDE")
        ),
        around=wakeword.SURROUND,
        pooling=backbone.pooling,
        pooled=f"[{pooled[backbone.pooling]}]",
    )
    _files(script, found)


def _waves(script: Script, found: LoadedModel, backbone: Any) -> None:
    recipe = backbone.recipe
    _one_network(script, backbone)
    _waveform(script)
    script.add(
        "waves",
        rate=recipe["rate"],
        longest=int(recipe["rate"] * recipe["longest_s"]),
        shortest=recipe["shortest"],
        length=getattr(backbone, "length", None),
        normalise=recipe["normalise"],
    )
    _files(script, found)


def _waveform(script: Script) -> None:
    script.add(
        "waveform",
        "import onnxruntime",
        "import soundfile",
        "import soxr",
        needs=("onnxruntime", "soundfile", "soxr"),
    )


def _table(script: Script, found: LoadedModel, backbone: Any) -> None:
    from isthmus.backbone.tabular_clean import NULLS

    entries, kinds = [], set()
    for i, column in enumerate(backbone.columns):
        tensors, meta = column.state()
        entry = {"name": column.name, "kind": column.kind, **meta}
        if column.kind == "date":
            entry["median"] = entry.pop("medians")
        if column.kind == "text":
            entry |= {"grams": list(column.grams), "place": f"columns.{i}"}
            script.tensors |= {
                f"columns.{i}.{name}": tensors[name]
                for name in ("idf", "components")
                if name in tensors
            }
        entries.append(entry)
        kinds.add(column.kind)
    script.add("one_file")
    script.files[".columns.json"] = json.dumps(entries, ensure_ascii=False).encode()
    script.add(
        "table",
        "import json",
        "import re",
        "import unicodedata",
        "import pandas as pd",
        needs=("pandas",),
        nulls=sorted(NULLS),
    )
    if "date" in kinds:
        script.add("table_date")
    if "text" in kinds:
        line = "from sklearn.feature_extraction.text import TfidfVectorizer"
        script.add("table_text", line, needs=("scikit-learn",))
    listed = ", ".join(f'"{kind}": {kind}' for kind in sorted(kinds))
    script.add("table_tail", kinds=f"{{{listed}}}")


def _features(script: Script, found: LoadedModel, backbone: Any) -> None:
    columns = found.manifest["input"]["reading"].get("features")
    script.add("one_file")
    script.add(
        "features",
        columns=columns if isinstance(columns, list) else None,
        width=int(backbone.num_features),
    )


def _files(script: Script, found: LoadedModel) -> None:
    """Photos or recordings, those of folders by the endings that `isthmus predict` takes."""
    from isthmus.data.audio import AUDIO_SUFFIXES
    from isthmus.data.images import IMAGE_SUFFIXES

    kind = found.backbone.modality
    endings = sorted(IMAGE_SUFFIXES if kind == "image" else AUDIO_SUFFIXES)
    script.add("files", endings=f'"{" ".join(endings)}".split()', things=THINGS[kind])


def _one_network(script: Script, backbone: Any) -> None:
    """The converted network beside the script, and the lines that open it."""
    script.files[".onnx"] = _network(backbone)
    script.add("network", "import onnxruntime", needs=("onnxruntime",))


_SOMETHING: dict[str, Any] = {
    "image": np.zeros((64, 64, 3), np.uint8),
    "text": "a word",
    "audio": (np.sin(np.arange(16_000) / 20), 16_000),
}


def _network(backbone: Any) -> bytes:
    """The ONNX file of a network that was converted; it is converted now where it was not."""
    from isthmus.backbone import load_backbone
    from isthmus.backbone.runtime import record_path, resolve_device

    on_cpu: Any
    if hasattr(backbone, "inner"):  # trained: a twin needs the files that it was built from
        on_cpu = backbone if resolve_device(None) == "cpu" else backbone.twin()
    else:
        on_cpu = load_backbone(**dict(backbone.reference) | {"device": "cpu"})
    on_cpu(on_cpu.preprocess(_SOMETHING[on_cpu.modality])[None])
    path = record_path(on_cpu.fingerprint).with_suffix(".onnx")
    try:
        return path.read_bytes()
    except OSError:
        raise BackboneError(
            f"the network {backbone.name} could not be converted to ONNX",
            why="its script would need torch and the library it comes from",
            remedy="Keep the folder and use `isthmus predict`, or train with another --backbone",
        ) from None


def _composed(script: Script, found: LoadedModel, name: str) -> str:
    """The text of the script: its own account, imports, weights, functions."""
    versions = {need: importlib.metadata.version(need) for need in script.needs}
    head = _part("head")
    values = {
        "MODALITY": THINGS[found.backbone.modality],
        "SOURCE": f"{found.backbone.name} features",
        "SCRIPT": name,
        "USAGE": USAGE[found.backbone.modality],
        "NEEDS": ", ".join(versions),
        "ROUTE": _route(found),
        "VERSIONS": f"isthmus {__version__}: Python {sys.version.split()[0]}, "
        + ", ".join(f"{n} {v}" for n, v in versions.items()),
    }
    lines = {"from pathlib import Path", "import numpy as np"} | script.imports
    lines.add("from safetensors.numpy import load_file")
    standard, others = _sorted_imports(lines)
    text = [
        _filled(head, values),
        "\n".join(standard),
        "\n" + "\n".join(others),
        "\nHERE = Path(__file__)",
        'W = load_file(HERE.with_suffix(".safetensors"))\n',
    ]
    body = "".join(_filled(_part(part), given) for part, given in script.pieces)
    return "\n".join(text) + body


def _sorted_imports(lines: set[str]) -> tuple[list[str], list[str]]:
    def module(line: str) -> str:
        return line.split()[1].partition(".")[0]

    ordered = sorted(lines, key=lambda line: (line.startswith("from"), line))
    standard = [line for line in ordered if module(line) in sys.stdlib_module_names]
    return standard, [line for line in ordered if line not in standard]


def _route(found: LoadedModel) -> str:
    names = getattr(found.model, "names", None)
    if names is None:
        extra = found.manifest["extra"].get("verdict")
        chosen = extra.get("decision") if isinstance(extra, dict) else None
        return str(chosen or type(found.model.head_).__name__)  # type: ignore[union-attr]
    return "the weighted mean of " + ", ".join(names)


def _part(name: str) -> str:
    return (PARTS / f"{name}.py.txt").read_text(encoding="utf-8")


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"@@{name}@@", value)
    return text


def _shown(value: Any) -> str:
    return repr(value)
