"""`import isthmus` and `isthmus --help` stay light: no heavy library is touched."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "torch",
    "timm",
    "transformers",
    "pandas",
    "sklearn",
    "scipy",
    "PIL",
    "onnxruntime",
    "skrub",
)


def loaded(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after running `code`."""
    script = f"{code}\nimport sys; print(' '.join({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_import_is_light():
    assert not loaded("import isthmus") & {*HEAVY, "numpy", "rich", "click"}


def test_help_is_light():
    code = (
        "import sys\nfrom isthmus.cli.main import run\n"
        "try:\n    run(['--help'])\nexcept SystemExit:\n    pass"
    )
    assert not loaded(code) & {*HEAVY, "numpy"}


def test_the_help_of_every_command_is_light():
    from isthmus.cli.main import COMMANDS

    for name in COMMANDS:
        code = (
            "from isthmus.cli.main import run\n"
            f"try:\n    run(['{name}', '--help'])\nexcept SystemExit:\n    pass"
        )
        assert not loaded(code) & {"torch", "timm", "transformers", "sklearn", "skrub"}, name


def test_the_warm_image_path_needs_neither_torch_nor_timm(tmp_path):
    """A second run must not pay for a deep-learning library that it does not use."""
    from isthmus.demo.cases import DATA

    code = (
        "from isthmus import embed, load_backbone, read\n"
        f"s = read({str(DATA / 'signs' / '0')!r})\n"
        "embed(load_backbone(modality='image'), s)"
    )
    loaded(code)  # fills the export cache
    assert not loaded(code) & {"torch", "timm"}
