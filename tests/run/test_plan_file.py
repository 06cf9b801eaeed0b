"""A plan on the disk: what is written is read back; what is wrong is named with its line or key."""

from __future__ import annotations

import pytest

from isthmus.errors import DataError, UsageError
from isthmus.run.plan_file import dump_plan, load_plan, option_names, save_plan


def written(tmp_path, text: str):
    path = tmp_path / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_written_is_read_back(tmp_path):
    options = {
        "source": "a b/ü.csv", "target": "no", "label": "yes", "shots": 5, "time": 90.0,
        "max_bad": 0.01, "allow_license": True, "header": False, "id": "012", "split": "2024-05-01",
        "method": ["coral", "kmm"], "backbone": "timm:resnet50",
    }  # fmt: skip
    path = save_plan(tmp_path / "plan.yaml", dump_plan(options, {"steps": [{"seconds": 1.5}]}))
    assert load_plan(path) == options


def test_open_keys_say_auto_and_empty_ones_nothing(tmp_path):
    text = "options: {target: t, method: auto, routes: auto, shots: null, time: , layer: ''}"
    assert load_plan(written(tmp_path, text)) == {"target": "t"}
    assert load_plan(written(tmp_path, "options: {method: coral}")) == {"method": ["coral"]}


def test_lists_become_what_the_options_want(tmp_path):
    text = "options:\n  features: [age, 3]\n  source_domain: [a, b]\n  split: 2024-05-01\n"
    assert load_plan(written(tmp_path, text)) == {
        "features": "age,3", "source_domain": "a,b", "split": "2024-05-01",
    }  # fmt: skip


def test_names_are_the_arguments_of_transfer():
    import inspect

    from isthmus.transfer import transfer

    names = set(option_names())
    assert {"source", "target", "shots", "label", "group", "head", "method", "routes"} <= names
    assert not {"say", "progress", "reading", "optional"} & names
    assert {"backbone", "seed", "out"} <= names & set(inspect.signature(transfer).parameters)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("options: {sorce: a}", "Did you mean 'source'"),
        ("options: {target-labels: a}", "Did you mean 'target_labels'"),
        ("option: {source: a}", "Did you mean 'options'"),
        ("options:\n  seed: 1\n  seed: 2\n", "plan.yaml:3: the key 'seed' is given twice"),
        ("options: {}\noptions: {}", "given twice"),
        ("options: {source: [a, b]}", "source cannot be a list"),
        ("options: {source: {a: b}}", "source is a dict"),
        ("options: 5", "no `options`"),
        ("- a\n- b", "no mapping"),
        ("", "no mapping"),
        ("options: {a", "no valid YAML"),
        ("options: {target: !!python/object/apply:os.system ['true']}", "no valid YAML"),
        ("[" * 1200, "no valid YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, said):
    with pytest.raises(UsageError) as caught:
        load_plan(written(tmp_path, text))
    assert said in str(caught.value) and "plan.yaml" in str(caught.value)


def test_a_bomb_of_references_is_no_value(tmp_path):
    lines = ["options:", "  target: &a0 [x, x]"]
    lines += [f"  k{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    with pytest.raises(UsageError, match=r"no option 'k1'"):
        load_plan(written(tmp_path, "\n".join(lines)))


def test_files_that_are_no_text_are_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        load_plan(tmp_path / "nowhere.yaml")
    path = tmp_path / "b.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        load_plan(path)
    path.write_bytes(b"#" * (1 << 20) + b"#")
    with pytest.raises(DataError, match="1 MB"):
        load_plan(path)


def test_data_in_memory_has_no_place_in_a_file():
    with pytest.raises(UsageError, match="source is a dict"):
        dump_plan({"source": {"x": [1]}}, {})


def test_a_file_is_replaced_only_where_that_is_said(tmp_path):
    path = save_plan(tmp_path / "p.yaml", "options: {}\n")
    with pytest.raises(UsageError, match="exists"):
        save_plan(path, "options: {seed: 1}\n")
    save_plan(path, "options: {seed: 1}\n", overwrite=True)
    assert load_plan(path) == {"seed": 1}
    with pytest.raises(UsageError, match="folder"):
        save_plan(tmp_path, "")
