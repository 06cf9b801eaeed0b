"""Layer 9: `isthmus cache info|verify|prune`."""

from __future__ import annotations

from typing import Any

import click

from isthmus.cli.common import emit, format_option, human_size


@click.group(
    name="cache",
    help="The cache holds features that were computed once and networks that were converted once. "
    "Everything in it can be made again. It lies in $ISTHMUS_CACHE, else in ~/.cache/isthmus.",
)
def command() -> None:
    """The group itself does nothing."""


@command.command()
@format_option
def info(fmt: str) -> None:
    """What the cache holds and how large it is."""
    from isthmus.backbone import upkeep

    found = upkeep.info()
    emit(found, fmt, lambda: _describe(found))


@command.command()
@format_option
@click.pass_context
def verify(ctx: click.Context, fmt: str) -> None:
    """Check the digest of every file; exit code 1 if one is damaged. Changes nothing."""
    from isthmus.backbone import upkeep

    checked, damaged = upkeep.verify()

    def text() -> str:
        lines = [f"damaged: {item.path} ({item.reason})" for item in damaged]
        lines.append(f"{checked} files checked, {len(damaged)} damaged")
        if damaged:
            lines.append(
                "The next run that needs a damaged file moves it aside and computes its rows again."
            )
        return "\n".join(lines)

    emit({"checked": checked, "damaged": [item.as_dict() for item in damaged]}, fmt, text)
    if damaged:
        ctx.exit(1)


@command.command()
@click.option("--max-size", metavar="SIZE", help="Keep this much, e.g. 2GB: the latest used.")
@click.option("--older-than", metavar="AGE", help="Delete what was unused for, e.g., 30d or 12h.")
@click.option("--all", "everything", is_flag=True, help="Delete all features and networks.")
@click.option("--dry-run", is_flag=True, help="Say what would go, delete nothing.")
@format_option
def prune(
    max_size: str | None, older_than: str | None, everything: bool, dry_run: bool, fmt: str
) -> None:
    """Delete damaged and left-over files, and more by age or size. Safe beside running jobs."""
    from isthmus.backbone import upkeep

    result = upkeep.prune(
        max_bytes=None if max_size is None else upkeep.parse_size(max_size),
        older_than=None if older_than is None else upkeep.parse_age(older_than),
        everything=everything,
        dry_run=dry_run,
    )
    verb = "would be deleted" if dry_run else "deleted"
    emit(
        {**result, "dry_run": dry_run},
        fmt,
        f"{result['files']} files ({human_size(result['bytes'])}) {verb}, "
        f"{human_size(result['kept_bytes'])} kept",
    )


def _describe(found: dict[str, Any]) -> str:
    lines = [f"{found['root']}: {human_size(found['bytes'])}"]
    for space in found["spaces"]:
        lines.append(
            f"  {space['backbone'] or 'unreadable'}: {space['rows']:,} rows of "
            f"{space['features']:,} features, {space['shards']} files, "
            f"{human_size(space['bytes'])} ({space['fingerprint'][:12]})"
        )
    words = {
        "networks": "converted networks",
        "damaged": "damaged, moved aside",
        "leftover": "left by killed processes",
    }
    for name, label in words.items():
        part = found[name]
        if part["files"]:
            lines.append(f"  {label}: {part['files']} files, {human_size(part['bytes'])}")
    return "\n".join(lines)
