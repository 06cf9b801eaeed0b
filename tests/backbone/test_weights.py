"""Weights from files: nothing runs, everything is accounted for, damage has a name."""

from __future__ import annotations

import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from isthmus.backbone import weights
from isthmus.errors import BackboneError, LicenseError


def net(classes=4):
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(5, classes))


def test_both_formats_give_the_tensors_back(tmp_path):
    state = net().state_dict()
    torch.save(state, tmp_path / "a.pth")
    save_file(state, tmp_path / "a.safetensors")
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "b.pt"
    )
    for name in ("a.pth", "a.safetensors", "b.pt"):
        found = weights.read_state(tmp_path / name)
        assert found.keys() == state.keys()
        assert all(torch.equal(found[k], state[k]) for k in state)


class Trap:
    def __reduce__(self):
        return (print, ("code ran",))


def hostile(folder, kind):
    file = folder / f"{kind}.pth"
    if kind == "pickle":
        file.write_bytes(pickle.dumps({"a": Trap()}))
    elif kind == "torch":
        torch.save({"a": torch.zeros(2), "b": Trap()}, file)
    elif kind == "text":
        file.write_text("weights")
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "module":
        torch.save(net(), file)
    elif kind == "strings":
        torch.save({"a": "no tensor"}, file)
    elif kind == "list":
        torch.save([torch.zeros(2)], file)
    elif kind == "bomb":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", b"\0" * (50 << 20))
    elif kind == "cut":
        torch.save(net().state_dict(), file)
        file.write_bytes(file.read_bytes()[:-300])
    elif kind == "header":
        file = file.with_suffix(".safetensors")
        file.write_bytes((1 << 60).to_bytes(8, "little") + b"{}")
    elif kind == "outside":
        file = file.with_suffix(".safetensors")
        header = b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}'
        file.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    return file


KINDS = """pickle torch text empty module strings list bomb cut header outside""".split()  # noqa: SIM905


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_and_damaged_files_are_refused_and_nothing_runs(kind, tmp_path, capfd):
    file = hostile(tmp_path, kind)
    with pytest.raises(BackboneError) as refusal:
        weights.read_state(file)
    assert file.name in str(refusal.value)
    assert "code ran" not in capfd.readouterr().out


def test_weights_that_are_not_finite_are_refused(tmp_path):
    state = net().state_dict()
    state["1.running_var"][2] = float("inf")
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(BackboneError, match=r"'1\.running_var'.*NaN or infinity"):
        weights.read_state(tmp_path / "a.safetensors")


def test_every_tensor_is_accounted_for():
    state = net().state_dict()
    target = net()
    weights.load_state(target, state, where="f")
    assert all(torch.equal(target.state_dict()[k], state[k]) for k in state)
    for change, named in (
        (lambda s: s.pop("0.bias"), "1 missing: 0.bias"),
        (lambda s: s.update(extra=torch.zeros(1)), "1 unexpected: extra"),
        (lambda s: s.update({"0.bias": torch.zeros(7)}), r"0\.bias \(7,\) for \(5,\)"),
    ):
        damaged = dict(state)
        change(damaged)
        with pytest.raises(BackboneError, match=named):
            weights.load_state(net(), damaged, where="f")


def test_only_a_dropped_head_may_be_absent_or_different():
    def head(name):
        return name.startswith("3.")

    state = net(classes=9).state_dict()
    target = net()
    weights.load_state(target, state, where="f", dropped=head)
    assert torch.equal(target.state_dict()["0.weight"], state["0.weight"])
    bare = {k: v for k, v in state.items() if not head(k)}
    weights.load_state(net(), bare, where="f", dropped=head)
    with pytest.raises(BackboneError, match="missing"):
        weights.load_state(net(), bare, where="f")


def test_the_digest_sees_every_value_name_and_shape_but_not_the_order():
    state = net().state_dict()
    first = weights.digest_state(state)
    assert weights.digest_state(dict(reversed(state.items()))) == first
    assert weights.digest_state({**state, "0.bias": state["0.bias"] + 1e-6}) != first
    assert weights.digest_state({**state, "0.bias": state["0.bias"].reshape(5, 1)}) != first
    assert weights.digest_state({**state, "0.bias": state["0.bias"].double()}) != first


NC = ("cc-by-nc-4.0", "CC-BY-NC-SA-4.0", "fair-noncommercial", "apple-amlr", "seer-license")


@pytest.mark.parametrize("licence", NC)
def test_licences_that_reserve_commercial_use_need_consent(licence):
    with pytest.raises(LicenseError, match=f"{licence}.*--allow-license"):
        weights.require_license(licence, name="timm:x", allow=False)
    weights.require_license(licence, name="timm:x", allow=True)


def test_other_licences_pass_and_an_unknown_one_is_noted(caplog):
    for licence in ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0"):
        weights.require_license(licence, name="timm:x", allow=False)
    assert not caplog.text
    weights.require_license(None, name="timm:x", allow=False)
    assert "not recorded" in caplog.text
    weights.require_license("dinov3-license", name="timm:x", allow=False)
    assert "of their own (dinov3-license)" in caplog.text


def test_did_you_mean_and_packages():
    assert "resnet50" in weights.did_you_mean("resnet5O", ["resnet50", "vgg16"])
    assert weights.did_you_mean("zzz", ["resnet50"]) == ""
    assert weights.package_folder("no_such_package_here") is None
    assert (weights.package_folder("torch") / "nn").is_dir()


def test_cached_files_are_checked_by_the_digest_in_their_name(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    assert weights.cached_torch_file("https://h/net-01ba4719.pth") is None
    (folder / "net-01ba4719.pth").write_bytes(b"\n")  # SHA-256 of a newline: 01ba4719...
    assert weights.cached_torch_file("https://h/net-01ba4719.pth") == folder / "net-01ba4719.pth"
    (folder / "net-01ba4719.pth").write_bytes(b"x")
    with pytest.raises(BackboneError, match="damaged"):
        weights.cached_torch_file("https://h/net-01ba4719.pth")


def test_the_hub_cache_is_read_without_a_network(tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda repo, name: str(tmp_path / repo / name)
    )
    assert weights.cached_hub_file("timm/x", "m") == tmp_path / "timm/x/m"
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda repo, name: object())
    assert weights.cached_hub_file("timm/x", "m") is None
