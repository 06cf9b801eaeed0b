"""Layer 9: `isthmus completion bash|zsh|fish`: the script that makes the shell complete.

The scripts are those of click; what they call back is this program with `_ISTHMUS_COMPLETE` set.
Names of methods, backbones and heads are known without importing any of them.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

SHELLS = ("bash", "zsh", "fish")
WHERE = {
    "bash": 'echo "source <(isthmus completion bash)" >> ~/.bashrc',
    "zsh": 'echo "source <(isthmus completion zsh)" >> ~/.zshrc',
    "fish": "isthmus completion fish > ~/.config/fish/completions/isthmus.fish",
}
VARIABLE = "_ISTHMUS_COMPLETE"


@click.command(name="completion")
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the completion script of a SHELL: commands, options, methods, backbones.

    \b
    To have it in every new shell:
      bash   echo "source <(isthmus completion bash)" >> ~/.bashrc
      zsh    echo "source <(isthmus completion zsh)" >> ~/.zshrc
      fish   isthmus completion fish > ~/.config/fish/completions/isthmus.fish
    """
    from isthmus.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    made = kind(cli, {}, "isthmus", VARIABLE)
    # the template alone: `source()` of bash starts a bash to ask for its version
    click.echo(made.source_template % made.source_vars())


def method_names(family: str = "adapt") -> list[str]:
    """Names that `--method` may take, by the files of the folders: no method is imported.

    Parameters
    ----------
    family : {"adapt", "align"}
        Those of a run, or the trained ones as `finetune` names them.
    """
    from isthmus.align.names import AFTER_TRAINING, run_names, trained

    if family == "align":
        return [name.replace("_", "-") for name in trained()] + [*AFTER_TRAINING]
    folder = Path(__file__).parents[1] / family
    found = [info.name for info in pkgutil.iter_modules([str(folder)])]
    methods = [name for name in found if _is_method(folder / f"{name}.py")]
    methods += run_names(frozenset(methods))
    return [name.replace("_", "-") for name in methods] + ["all", "auto", "none"]


def _is_method(file: Path) -> bool:
    """Whether the file defines the class of its own name, as a method's file does."""
    wanted = f"\nclass {file.stem.replace('_', '')}("
    try:
        return wanted in file.read_text(encoding="utf-8").lower()
    except OSError:
        return False


def backbone_names() -> list[str]:
    """Beginnings and defaults of `--backbone`."""
    from isthmus.backbone.load import DEFAULTS, LEAVES

    alone = set(DEFAULTS.values())
    return sorted(alone | {f"{prefix}:" for prefix in LEAVES if prefix not in alone})


def _from(names: Callable[[], list[str]]) -> Callable[..., list[CompletionItem]]:
    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(name) for name in names() if name.startswith(incomplete)]

    return complete


def _paths(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


# parameter -> what completes it, in whichever command it stands
COMPLETERS: dict[str, Callable[..., list[CompletionItem]]] = {
    "method": _from(method_names),
    "backbone": _from(backbone_names),
    "head": _from(lambda: ["logistic", "ridge", "nearest-mean", "knn"]),
    "modality": _from(lambda: ["image", "text", "audio", "table", "features"]),
    "task": _from(lambda: ["classification", "multilabel", "regression"]),
    "shots": _from(lambda: ["1", "5", "10", "20", "all"]),
} | dict.fromkeys(
    (
        "source", "target", "target_labels", "test", "out", "weights", "plan", "root", "folder",
        "files", "data",
    ),
    _paths,
)  # fmt: skip


def completed(command: click.Command) -> None:
    """Give each parameter of a command what completes it."""
    for param in command.params:
        completer = COMPLETERS.get(param.name or "")
        if command.name == "finetune" and param.name == "method":
            completer = _from(lambda: method_names("align"))
        if command.name == "methods" and param.name == "name":
            completer = COMPLETERS["method"]
        if completer is not None and param._custom_shell_complete is None:
            param._custom_shell_complete = completer
