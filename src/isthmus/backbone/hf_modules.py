"""Layer 2: the torch side of Hugging Face encoders: every tensor accounted for, one row an item.

Imported only when a network must be exported or run by torch. The modules take one array, as
`isthmus.backbone.runtime.compile_module` wants them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.backbone.hf_folder import ModelFolder
from isthmus.backbone.weights import check_finite
from isthmus.errors import BackboneError, need

log = logging.getLogger(__name__)

# Parts of a network that play no role in its hidden states; checkpoints often lack them.
_UNUSED = re.compile(
    r"(^|\.)(pooler|head|heads|classifier|logit_scale|masked_spec_embed|mask_token)(\.|$)"
    r"|(^|\.)embeddings\.position_ids$|num_batches_tracked$"
)
# Tensors of training heads, outside the encoder.
_HEAD = re.compile(
    r"^(cls|lm_head|classifier|qa_outputs|pre_classifier|vocab_\w+|generator_\w+|score|head|heads"
    r"|decoder|projector|quantizer|project_q|project_hid|final_logits_bias|distilhubert\w*"
    r"|discriminator_predictions|generator_lm_head|mim_head|mlm_head)(\.|$)"
)


def load_model(folder: ModelFolder, *, random: bool, attention: str = "eager") -> nn.Module:
    """The plain encoder of a folder in float32.

    Parameters
    ----------
    folder : ModelFolder
        Found by `isthmus.backbone.hf_folder.find`.
    random : bool
        Weights drawn with seed 0 instead of those of the folder.
    attention : str
        ``eager`` exports well; ``sdpa`` is quicker in torch on a GPU.

    Raises
    ------
    BackboneError
        If transformers cannot build the network, the file holds code, or a tensor is missing,
        left over or of another shape.
    """
    transformers = need("transformers", extra="text")
    kwargs: dict[str, Any] = {"trust_remote_code": False, "attn_implementation": attention}
    try:
        with _quiet(transformers), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if random:
                config = transformers.AutoConfig.from_pretrained(
                    str(folder.path), local_files_only=True, trust_remote_code=False
                )
                model = transformers.AutoModel.from_config(config, **kwargs)
                info: dict[str, Any] = {}
            else:
                model, info = transformers.AutoModel.from_pretrained(
                    str(folder.path),
                    local_files_only=True,
                    dtype=torch.float32,
                    weights_only=True,
                    use_safetensors=folder.weights[0].suffix == ".safetensors",
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,  # they are listed, and refused by _account
                    **kwargs,
                )
    except Exception as error:  # transformers raises many classes on unknown or damaged files
        raise BackboneError(
            "transformers cannot load the model",
            where=str(folder.path),
            why=f"{type(error).__name__}: {str(error).strip()[:300]}",
            remedy="Check that the folder is complete and was written by save_pretrained",
        ) from None
    _account(model, info, where=str(folder.path))
    check_finite(model.state_dict(), where=str(folder.path))
    if getattr(model.config, "is_encoder_decoder", False):
        model = model.get_encoder()
    return model.float().eval()


def _account(model: nn.Module, info: dict[str, Any], *, where: str) -> None:
    """100 % of the tensors: of the network from the file, of the file in the network."""
    missing = [n for n in info.get("missing_keys", ()) if not _UNUSED.search(n)]
    unexpected = [
        n for n in info.get("unexpected_keys", ()) if not _HEAD.search(n) and not _UNUSED.search(n)
    ]
    shapes = [str(n[0] if isinstance(n, tuple) else n) for n in info.get("mismatched_keys", ())]
    errors = info.get("error_msgs") or ()
    faults = [
        f"{len(names)} {kind}: {', '.join(sorted(names)[:4])}{', ...' if len(names) > 4 else ''}"
        for kind, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", shapes),
            ("faults", [str(e)[:200] for e in errors]),
        )
        if names
    ]
    if faults:
        raise BackboneError(
            "the weights do not fit the network",
            where=where,
            why="; ".join(faults),
            remedy="Check that config.json and the weights belong together",
        )
    unused = [*info.get("missing_keys", ()), *info.get("unexpected_keys", ())]
    if unused:
        log.info("%s: parts without a role in the features: %s", where, ", ".join(sorted(unused)))


def _hidden(output: Any, layer: int | None, where: str) -> Tensor:
    """Hidden states of one layer: None the last as the model gives it, 0 the embeddings."""
    if layer is None:
        return output.last_hidden_state
    states = output.hidden_states
    if not -len(states) <= layer < len(states):
        raise BackboneError(
            f"layer {layer} does not exist",
            where=where,
            why=f"layers run from 0 (embeddings) to {len(states) - 1}",
        )
    return states[layer]


def _pool(states: Tensor, mask: Tensor | None, pooling: str) -> Tensor:
    """(n, L, d) -> (n, d); padding (mask 0) takes no part."""
    if pooling == "cls":
        return states[:, 0]
    if mask is None:
        return states.amax(1) if pooling == "max" else states.mean(1)
    weight = mask.unsqueeze(-1).to(states.dtype)
    if pooling == "max":
        return (states + (weight - 1.0) * 1e9).amax(1)
    return (states * weight).sum(1) / weight.sum(1).clamp(min=1.0)


class TextEncoder(nn.Module):
    """(n, 2, L) ids and mask -> (n, d)."""

    def __init__(self, model: nn.Module, *, layer: int | None, pooling: str, l2: bool) -> None:
        super().__init__()
        self.model, self.layer, self.pooling, self.l2 = model, layer, pooling, l2
        model.unused = ("pooler",)  # type: ignore[assignment]  # no block: nothing passes it

    def forward(self, batch: Tensor) -> Tensor:
        mask = batch[:, 1]
        output = self.model(
            input_ids=batch[:, 0],
            attention_mask=mask,
            output_hidden_states=self.layer is not None,
            return_dict=True,
        )
        made = _pool(_hidden(output, self.layer, "text"), mask, self.pooling)
        return nn.functional.normalize(made, dim=-1) if self.l2 else made


class ImageEncoder(nn.Module):
    """(n, 3, h, w) -> (n, d); two-tower models give their image embedding."""

    def __init__(self, model: nn.Module, *, layer: int | None, pooling: str | None) -> None:
        super().__init__()
        self.towers = hasattr(model, "get_image_features")
        names = [name for name, _ in model.named_parameters()]
        first = any(n.endswith(("cls_token", "class_embedding")) for n in names)
        self.model, self.layer = model, layer
        self.pooling = pooling or ("cls" if first else "mean")
        if pooling == "cls" and not first:
            raise BackboneError("this network has no class token", remedy="Use --pooling mean")
        if self.towers and (layer is not None or pooling is not None):
            raise BackboneError(
                "layer and pooling cannot be chosen for a model of images and texts",
                why="its image embedding is used as it was trained",
            )

    def forward(self, batch: Tensor) -> Tensor:
        if self.towers:
            model: Any = self.model
            output = model.get_image_features(pixel_values=batch)
            return output if isinstance(output, Tensor) else output.pooler_output
        hidden = self.layer is not None
        output = self.model(pixel_values=batch, output_hidden_states=hidden, return_dict=True)
        states = _hidden(output, self.layer, "image")
        if states.ndim == 4:  # a convolutional map (n, d, h, w)
            states = states.flatten(2).transpose(1, 2)
        return _pool(states, None, self.pooling)


class AudioEncoder(nn.Module):
    """(1, samples) normalised waveform of one clip, never padded -> (1, d) over its frames."""

    def __init__(self, model: nn.Module, *, layer: int | None, pooling: str) -> None:
        super().__init__()
        self.model, self.layer, self.pooling = model, layer, pooling

    def forward(self, batch: Tensor) -> Tensor:
        output = self.model(batch, output_hidden_states=self.layer is not None, return_dict=True)
        return _pool(_hidden(output, self.layer, "audio"), None, self.pooling)


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bar and no loading report on the terminal; the user's settings come back."""
    logs = transformers.utils.logging
    bars, level = logs.is_progress_bar_enabled(), logs.get_verbosity()
    try:
        logs.disable_progress_bar()
        logs.set_verbosity_error()
        yield
    finally:
        logs.set_verbosity(level)
        if bars:
            logs.enable_progress_bar()
