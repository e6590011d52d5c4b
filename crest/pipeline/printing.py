"""What commands print: metrics, JSON, the version; and letters that a stream cannot write."""

import io
import json
import sys
from collections.abc import Mapping

from crest.errors import needs_extra

with needs_extra("pipeline"):
    import typer


def write_what_can_be_written() -> None:
    r"""Write a letter that a stream's encoding lacks as \\u4e2d, in place of a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def encodable(text: str) -> str:
    """Return JSON that stdout can write, letters that its encoding lacks as JSON has them."""
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return "".join(one if one.isascii() else json.dumps(one)[1:-1] for one in text)
    return text


def print_metrics(metrics: dict[str, object], as_json: bool) -> None:
    """Print a stage's metrics, as JSON or, rounded, a line each."""
    if as_json:
        typer.echo(json.dumps(metrics))
        return
    for key, value in metrics.items():
        typer.echo(f"{key}: {rounded(value)}")


def print_facts(found: Mapping[str, Mapping[str, object]]) -> None:
    """Print what is known of each subject, a line each."""
    for subject, facts in found.items():
        typer.echo(subject)
        for name, fact in facts.items():
            typer.echo(f"  {name:14}{fact}")


def rounded(value: object) -> str:
    """Return a metric as people read it: four digits of a number, a group on one line."""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1_000 else f"{value:,.0f}"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {rounded(one)}" for name, one in value.items())
    return str(value)


def print_version(wanted: bool) -> None:
    """Print the version and end, if it is asked for."""
    if wanted:
        from importlib.metadata import version

        typer.echo(f"crest {version('crest-coresets')}")
        raise typer.Exit
