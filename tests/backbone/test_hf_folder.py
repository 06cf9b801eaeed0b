"""Finding model folders offline, weights in shards, licences of model cards."""

from __future__ import annotations

import json

import pytest

from isthmus.backbone.hf_folder import find, width
from isthmus.errors import BackboneError


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "config.json").write_text('{"model_type": "bert"}')
    return path


def test_a_name_is_looked_up_in_the_local_cache_only(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BackboneError, match="nothing is fetched") as caught:
        find("google-bert/bert-base-uncased")
    assert "hf:FOLDER" in str(caught.value)
    repository = tmp_path / "models--google-bert--bert-base-uncased"
    for revision in ("aaa", "bbb"):
        snapshot = repository / "snapshots" / revision
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text(json.dumps({"model_type": revision}))
    with pytest.raises(BackboneError):  # two revisions and nothing that names one
        find("google-bert/bert-base-uncased")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("bbb")
    found = find("google-bert/bert-base-uncased")
    assert found.config["model_type"] == "bbb" and found.weights == ()


@pytest.mark.parametrize("name", ["../../etc", "a/b/c", "", "https://example.org/x"])
def test_odd_names_are_not_looked_up(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackboneError):
        find(name)


def test_weights_single_sharded_or_incomplete(folder):
    assert find(str(folder)).weights == ()
    (folder / "pytorch_model.bin").write_bytes(b"x")
    assert [p.name for p in find(str(folder)).weights] == ["pytorch_model.bin"]
    (folder / "model.safetensors").write_bytes(b"x")  # preferred
    assert [p.name for p in find(str(folder)).weights] == ["model.safetensors"]
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "m-2.safetensors", "b": "m-1.safetensors"}}))
    with pytest.raises(BackboneError, match=r"m-1\.safetensors"):
        find(str(folder))
    for name in ("m-1.safetensors", "m-2.safetensors"):
        (folder / name).write_bytes(name.encode())
    found = find(str(folder))
    assert [p.name for p in found.weights] == ["m-1.safetensors", "m-2.safetensors"]
    assert len(set(found.weight_digests())) == 2


@pytest.mark.parametrize("shard", ["../secret", "/etc/passwd", "a/b", 7, ".."])
def test_an_index_cannot_lead_out_of_the_folder(folder, shard):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(BackboneError, match="index"):
        find(str(folder))


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n", "apache-2.0"),
        ("---\nlicense:\n- cc-by-nc-sa-4.0\nlanguage:\n- en\n---\n", "cc-by-nc-sa-4.0"),
        ('---\ntags:\n- license: x\nlicense: "MIT"\n---\n', "mit"),
        ("---\nlicense: other\nlicense_name: acme-research\n---\n", "other, acme-research"),
        ("# no header\nlicense: mit\n", ""),
        ("", ""),
    ],
)
def test_licence_of_a_model_card(folder, card, licence):
    (folder / "README.md").write_text(card)
    assert find(str(folder)).licence == licence


@pytest.mark.parametrize("text", ["[]", "{", '{"model_type": 3}', "{}", '"bert"'])
def test_a_config_that_names_no_network_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(BackboneError):
        find(str(folder))


def test_width_of_the_features():
    assert width({"dim": 5}, "hidden_size", "dim") == 5
    assert width({"hidden_sizes": [8, 16]}, "hidden_sizes") == 16
    with pytest.raises(BackboneError, match="hidden_size"):
        width({"model_type": "x", "hidden_size": None}, "hidden_size")
