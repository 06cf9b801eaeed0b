"""`hf:` models by folder: BERT against transformers itself, and every reason to refuse one."""

from __future__ import annotations

import io
import json
import pickle
import shutil

import numpy as np
import pytest

from isthmus.backbone import hf_modules, load_backbone
from isthmus.backbone.hf_folder import find
from isthmus.errors import BackboneError, DataError, LicenseError, UsageError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEXTS = ["the cat sat on a mat", "hello world !", "not very good", "a bad bad film . " * 5]


def embedded(backbone, texts):
    rows = []
    for text in texts:
        item = backbone.preprocess(text)
        rows.append(backbone(np.stack([item] * backbone.batch_size))[0])
    return np.array(rows)


def hidden(folder, text, layer):
    """(L, d) hidden states by transformers, without any padding."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    transformers.utils.logging.disable_progress_bar()
    model = transformers.BertModel.from_pretrained(str(folder), add_pooling_layer=False).eval()
    transformers.utils.logging.enable_progress_bar()
    batch = tokenizer(text, return_tensors="pt", truncation=True, max_length=40)
    with torch.inference_mode():
        output = model(**batch, output_hidden_states=True)
    return output.hidden_states[layer][0].numpy()


def test_bert_by_folder_is_what_transformers_computes(bert_folder):
    backbone = load_backbone(f"hf:{bert_folder}", device="cpu")
    assert backbone.modality == "text" and backbone.num_features == 32
    assert backbone.recipe["max_tokens"] == 40
    expected = [hidden(bert_folder, text, -1).mean(0) for text in TEXTS]
    np.testing.assert_allclose(embedded(backbone, TEXTS), expected, atol=1e-4)
    assert backbone._network.engine == "onnxruntime", backbone._network.why
    again = load_backbone(**backbone.reference)
    assert again.fingerprint == backbone.fingerprint


@pytest.mark.parametrize(("layer", "pooling"), [(1, "cls"), (-2, "max"), (0, "mean")])
def test_layers_and_poolings(bert_folder, layer, pooling):
    model = hf_modules.load_model(find(str(bert_folder)), random=False)
    module = hf_modules.TextEncoder(model, layer=layer, pooling=pooling, l2=False)
    backbone = load_backbone(f"hf:{bert_folder}", layer=layer, pooling=pooling)
    for text in TEXTS:
        item = torch.from_numpy(backbone.preprocess(text)[None])
        with torch.inference_mode():
            found = module(item)[0].numpy()
        states = hidden(bert_folder, text, layer)
        expected = {"cls": states[0], "max": states.max(0), "mean": states.mean(0)}[pooling]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_layer_that_does_not_exist_is_refused(bert_folder):
    backbone = load_backbone(f"hf:{bert_folder}", layer=9)
    with pytest.raises(BackboneError, match="from 0"):
        embedded(backbone, ["hello"])
    with pytest.raises(UsageError, match="not a number"):
        load_backbone(f"hf:{bert_folder}", layer="encoder.layer.1")


def test_random_weights_are_seeded_and_leave_the_generator_alone(bert_folder, tmp_path):
    folder = tmp_path / "only_config"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(bert_folder / name, folder)
    with pytest.raises(BackboneError, match="weights are missing"):
        load_backbone(f"hf:{folder}")
    before = torch.random.get_rng_state()
    one, two = (hf_modules.load_model(find(str(folder)), random=True) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    backbone = load_backbone(f"hf:{folder}", weights="random")
    assert backbone.reference["weights"] == "random"
    trained = load_backbone(f"hf:{bert_folder}")
    assert backbone.fingerprint != trained.fingerprint


def test_the_fingerprint_follows_the_files(bert_copy):
    from safetensors.numpy import load_file, save_file

    seen = {load_backbone(f"hf:{bert_copy}").fingerprint}
    seen |= {load_backbone(f"hf:{bert_copy}", **o).fingerprint for o in (
        {"pooling": "max"}, {"layer": 1}, {"size": 20}, {"weights": "random"},
    )}  # fmt: skip
    assert len(seen) == 5
    tensors = load_file(bert_copy / "model.safetensors")
    name = "bert.encoder.layer.0.output.dense.bias"
    tensors[name] = tensors[name] + np.float32(1e-6)
    save_file(tensors, bert_copy / "model.safetensors", metadata={"format": "pt"})
    seen.add(load_backbone(f"hf:{bert_copy}").fingerprint)
    assert len(seen) == 6
    text = (bert_copy / "tokenizer.json").read_text()
    (bert_copy / "tokenizer.json").write_text(text.replace('"film"', '"movie"'))
    seen.add(load_backbone(f"hf:{bert_copy}").fingerprint)
    assert len(seen) == 7


def test_sentence_transformers_folders_say_how_they_pool(bert_copy):
    def write(name, value):
        (bert_copy / name).parent.mkdir(exist_ok=True)
        (bert_copy / name).write_text(json.dumps(value))

    steps = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    modules = [{"type": f"sentence_transformers.models.{t}", "path": p} for t, p in steps]
    write("modules.json", modules)
    write("sentence_bert_config.json", {"max_seq_length": 24})
    write(
        "1_Pooling/config.json", {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    )
    recipe = load_backbone(f"hf:{bert_copy}").recipe
    assert (recipe["pooling"], recipe["l2"], recipe["max_tokens"]) == ("cls", True, 24)
    assert load_backbone(f"hf:{bert_copy}", pooling="mean").recipe["pooling"] == "mean"
    write("1_Pooling/config.json", {"pooling_mode": "lasttoken"})
    with pytest.raises(BackboneError, match="lasttoken"):
        load_backbone(f"hf:{bert_copy}")
    write("modules.json", [*modules, {"type": "sentence_transformers.models.Dense", "path": "3"}])
    with pytest.raises(BackboneError, match="Dense"):
        load_backbone(f"hf:{bert_copy}", pooling="mean")


def damaged(folder, change):
    """Rewrite the weights through `change(tensors)`; load; return the refusal."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackboneError) as caught:
        hf_modules.load_model(find(str(folder)), random=False)
    return str(caught.value)


def test_a_missing_tensor_is_named(bert_copy):
    message = damaged(bert_copy, lambda t: t.pop("bert.encoder.layer.2.attention.self.query.bias"))
    assert "1 missing" in message and "encoder.layer.2.attention.self.query.bias" in message


def test_a_tensor_left_over_is_named(bert_copy):
    def rename(tensors):
        tensors["bert.encoder.layer.7.output.dense.bias"] = np.zeros(32, np.float32)

    assert "encoder.layer.7.output.dense.bias" in damaged(bert_copy, rename)


def test_a_tensor_of_another_shape_is_named(bert_copy):
    def cut(tensors):
        name = "bert.embeddings.position_embeddings.weight"
        tensors[name] = tensors[name][:7].copy()

    assert "position_embeddings" in damaged(bert_copy, cut)


def test_weights_that_are_not_finite_are_refused(bert_copy):
    def spoil(tensors):
        tensors["bert.embeddings.LayerNorm.bias"][3] = np.nan

    assert "NaN" in damaged(bert_copy, spoil)


class Payload:
    def __reduce__(self):
        return print, ("executed",)


def test_a_pickle_posing_as_weights_is_not_executed(bert_copy, capsys):
    (bert_copy / "model.safetensors").unlink()
    buffer = io.BytesIO()
    torch.save({"bert.embeddings.word_embeddings.weight": Payload()}, buffer, pickle_module=pickle)
    (bert_copy / "pytorch_model.bin").write_bytes(buffer.getvalue())
    with pytest.raises(BackboneError):
        hf_modules.load_model(find(str(bert_copy)), random=False)
    assert "executed" not in capsys.readouterr().out


def test_plain_torch_weights_are_read(bert_copy):
    from safetensors.torch import load_file

    state = load_file(bert_copy / "model.safetensors")
    first = hf_modules.load_model(find(str(bert_copy)), random=False)
    (bert_copy / "model.safetensors").unlink()
    torch.save(state, bert_copy / "pytorch_model.bin")
    second = hf_modules.load_model(find(str(bert_copy)), random=False)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_code_in_a_repository_is_never_run(bert_copy):
    config = json.loads((bert_copy / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "evil.Model", "AutoConfig": "evil.Config"}
    del config["model_type"]
    (bert_copy / "config.json").write_text(json.dumps(config))
    (bert_copy / "evil.py").write_text("raise SystemExit('executed')")
    with pytest.raises(BackboneError, match="model_type"):
        load_backbone(f"hf:{bert_copy}")
    config["model_type"] = "something-new"
    (bert_copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackboneError):
        embedded(load_backbone(f"hf:{bert_copy}"), ["hello"])


def test_a_tokenizer_that_disagrees_with_its_own_files_is_refused(bert_copy, monkeypatch):
    from isthmus.backbone import transformers as leaf

    def other(folder):
        made = transformers.AutoTokenizer.from_pretrained(str(folder.path)).backend_tokenizer
        from tokenizers import pre_tokenizers

        made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        made.normalizer = None
        return made

    recipe = load_backbone(f"hf:{bert_copy}").recipe
    leaf._check_tokenizer(find(str(bert_copy)), recipe)  # as it is: fine
    monkeypatch.setattr(leaf, "_PROBES", ("hello world!", "The Cat."))
    monkeypatch.setattr(leaf, "_by_transformers", other)
    with pytest.raises(BackboneError, match="disagree"):
        leaf._check_tokenizer(find(str(bert_copy)), recipe)


def test_a_licence_against_commercial_use_needs_consent(bert_copy):
    (bert_copy / "README.md").write_text("---\nlicense: cc-by-nc-4.0\ntags:\n- x\n---\n# Model\n")
    with pytest.raises(LicenseError, match=r"cc-by-nc-4\.0"):
        load_backbone(f"hf:{bert_copy}")
    backbone = load_backbone(f"hf:{bert_copy}", allow_license=True)
    assert backbone.licence == "cc-by-nc-4.0" and backbone.reference["allow_license"] is True
    (bert_copy / "README.md").write_text("---\nlicense: mit\n---\nnot cc-by-nc\n")
    assert load_backbone(f"hf:{bert_copy}").licence == "mit"


def test_limits_of_the_length(bert_folder):
    assert load_backbone(f"hf:{bert_folder}", size=16).preprocess("cat " * 99).shape == (2, 16)
    with pytest.raises(UsageError, match="to 40"):
        load_backbone(f"hf:{bert_folder}", size=41)
    with pytest.raises(DataError, match="empty"):
        load_backbone(f"hf:{bert_folder}").preprocess(" ")


def test_options_that_do_not_apply(bert_folder):
    with pytest.raises(UsageError, match="one folder"):
        load_backbone(f"hf:{bert_folder}", weights="other.safetensors")
    with pytest.raises(UsageError, match="pooling"):
        load_backbone(f"hf:{bert_folder}", pooling="median")


def test_a_folder_without_tokenizer_or_preprocessor(bert_copy):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (bert_copy / name).unlink()
    with pytest.raises(BackboneError, match=r"tokenizer\.json"):
        load_backbone(f"hf:{bert_copy}")
