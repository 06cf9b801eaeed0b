"""Layer 9: `isthmus eject DIR`: a saved model as a plain script."""

from __future__ import annotations

import click

from isthmus.cli.common import emit, format_option


@click.command(name="eject")
@click.argument("folder", metavar="DIR")
@click.option("--out", metavar="FILE", help="The script. [default: DIR/ejected/predict.py]")
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@format_option
def command(folder: str, out: str | None, overwrite: bool, fmt: str) -> None:
    """Write the model in DIR as a script of NumPy and ONNX Runtime that needs no isthmus.

    \b
    Beside it lie its weights and its network. It prints the predictions as CSV:
      isthmus eject run --out plain/predict.py
      python plain/predict.py new_photos/ > answer.csv
    """
    from isthmus.serve.eject import eject

    files = eject(folder, out, overwrite=overwrite)
    lines = len(files[0].read_text(encoding="utf-8").splitlines())
    emit(
        {"script": str(files[0]), "lines": lines, "files": [str(file) for file in files]},
        fmt,
        "\n".join(map(str, files)) + f"\nRun it: python {files[0]} ... ({lines} lines)",
    )
