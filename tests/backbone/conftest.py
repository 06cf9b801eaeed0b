"""Tiny local models with random weights, made once a session: nothing is ever fetched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_PLAIN = ["the", "cat", "sat", "on", "mat", "a", "dog", "ran", "hello", "world", "not", "very"]
_PIECES = [".", ",", "!", "?", "##s", "##ed", "##ing", "good", "bad", "film"]
WORDS = _SPECIAL + _PLAIN + _PIECES


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory, silent_transformers) -> Path:
    """A BertForMaskedLM checkpoint (it has a head and no pooler) with a WordPiece tokenizer."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    folder = tmp_path_factory.mktemp("hf") / "bert"
    pieces = Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer()
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    with silent_transformers(3) as transformers:
        config = transformers.BertConfig(
            vocab_size=len(WORDS),
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=40,
        )
        transformers.BertForMaskedLM(config).save_pretrained(folder)
        transformers.PreTrainedTokenizerFast(
            tokenizer_object=pieces,
            unk_token="[UNK]",
            pad_token="[PAD]",
            cls_token="[CLS]",
            sep_token="[SEP]",
            mask_token="[MASK]",
            model_max_length=40,
        ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def vit_folder(tmp_path_factory, silent_transformers) -> Path:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")

    folder = tmp_path_factory.mktemp("hf") / "vit"
    with silent_transformers(4) as transformers:
        config = transformers.ViTConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            image_size=32,
            patch_size=8,
        )
        transformers.ViTModel(config).save_pretrained(folder)
        transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def wav2vec2_folder(tmp_path_factory, silent_transformers) -> Path:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")

    folder = tmp_path_factory.mktemp("hf") / "wav2vec2"
    with silent_transformers(5) as transformers:
        config = transformers.Wav2Vec2Config(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            conv_dim=(16, 16, 16),
            conv_stride=(5, 4, 4),
            conv_kernel=(10, 8, 4),
            num_feat_extract_layers=3,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=4,
        )
        transformers.Wav2Vec2Model(config).save_pretrained(folder)
        transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder


@pytest.fixture
def bert_copy(bert_folder, tmp_path) -> Path:
    """A private copy that a test may damage."""
    return Path(shutil.copytree(bert_folder, tmp_path / "bert"))
