"""Small encoders with weights drawn at random, made once a session: nothing is fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from isthmus.demo.cases import DATA

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="session")
def text_encoder(tmp_path_factory, silent_transformers) -> Path:
    """A BERT of two layers with a WordPiece tokenizer learnt from the demo's reviews."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    import pandas as pd
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    folder = tmp_path_factory.mktemp("hf") / "bert"
    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer()
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    texts = pd.read_csv(DATA / "reviews" / "sentences.csv")["text"].tolist()
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=SPECIAL, show_progress=False)
    pieces.train_from_iterator(texts, trainer)
    pieces.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    with silent_transformers(3) as transformers:
        config = transformers.BertConfig(
            vocab_size=pieces.get_vocab_size(),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=48,
        )
        transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
        transformers.PreTrainedTokenizerFast(
            tokenizer_object=pieces,
            unk_token="[UNK]",
            pad_token="[PAD]",
            cls_token="[CLS]",
            sep_token="[SEP]",
            mask_token="[MASK]",
            model_max_length=48,
        ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def review_tables(tmp_path_factory) -> tuple[Path, Path]:
    """60 labelled sentences of one site, 40 of another."""
    import pandas as pd

    root = tmp_path_factory.mktemp("reviews")
    frame = pd.read_csv(DATA / "reviews" / "sentences.csv")
    sites = sorted(frame["domain"].unique())[:2]
    for site, count, name in zip(sites, (30, 20), ("source", "target"), strict=True):
        part = frame[frame["domain"] == site].groupby("label").head(count)
        part[["text", "label"]].to_csv(root / f"{name}.csv", index=False)
    return root / "source.csv", root / "target.csv"
