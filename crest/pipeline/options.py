"""The options that commands share or that take many words: names, help, what a shell completes."""

import json
from pathlib import Path
from typing import Annotated

from crest.config import Parameters
from crest.errors import needs_extra
from crest.methods import METHODS
from crest.parameters.section import keys_of, value_of

with needs_extra("pipeline"):
    import typer

WIDTH = 100  # of a line of help
# What keep goes by, of crest.analysis.subset, whose import takes longer than help should.
SCORES = (
    *("forgotten", "mean_loss", "el2n", "wrong_label", "first_learned", "correct", "seen"),
    *("selected", "trained"),
)


def keys_beginning(incomplete: str) -> list[str]:
    """Return the keys of parameters that begin so, for a shell to complete."""
    keys = (f"{key}=" for key in keys_of(Parameters))
    return [key for key in keys if key.startswith(incomplete)]


def methods_beginning(incomplete: str) -> list[str]:
    """Return the methods that begin so."""
    return [name for name in METHODS if name.startswith(incomplete)]


def scores_beginning(incomplete: str) -> list[str]:
    """Return the scores that begin so."""
    return [name for name in SCORES if name.startswith(incomplete)]


ParamsFile = Annotated[Path, typer.Option("--params", help="The parameter file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "-S",
        metavar="SECTION.KEY=VALUE",
        help="Override a parameter; repeatable.",
        autocompletion=keys_beginning,
    ),
]
MethodName = Annotated[
    str | None,
    typer.Option("--method", help="Default: all of run.methods.", autocompletion=methods_beginning),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Forget the state of an unfinished run.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]

# Of one command or two.
EmbedModel = Annotated[str | None, typer.Option(help="Default: train.model.")]
FurtherSeed = Annotated[
    int | None, typer.Option(min=0, help="Default: all of run.seeds.", show_default=False)
]
Checkpoint = Annotated[Path, typer.Option(help="A model.safetensors.")]
SelectOut = Annotated[
    Path | None, typer.Option(help="Where to write coresets.parquet; -: to stdout.")
]
Minibatches = Annotated[int | None, typer.Option(min=1, help="How many (P).")]
Source = Annotated[
    Path, typer.Argument(help="A folder that LossBatchSampler.save wrote, or a training run.")
]
DifficultyOut = Annotated[Path | None, typer.Option(help="Default: SOURCE/difficulty.")]
PreparedForPictures = Annotated[
    Path | None, typer.Option(help="Prepared data that it is of, for names and pictures.")
]
Sources = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FOLDER]...",
        help="What difficulty takes; several runs on the same data count together. "
        "Default: artifacts/analyze.",
    ),
]
TableOut = Annotated[Path | None, typer.Option(help="FILE.csv or FILE.parquet. Default: stdout.")]
Most = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=2**31 - 1,
        help="Examples listed. Default: those that are more likely wrong than right; of none as "
        "many as are wrong by estimate, or, where those are none, the likeliest 48.",
    ),
]
PreparedForNames = Annotated[
    Path | None, typer.Option(help="Prepared data that it is of, for names of classes.")
]
Inputs = Annotated[
    bool,
    typer.Option(
        "--inputs",
        help="Judge each label by all other examples too; before any training, by them alone.",
    ),
]
ReuseModel = Annotated[str | None, typer.Option(help="Default: all of reuse.models.")]
CoresetsOf = Annotated[
    Path | None, typer.Option(help="A training run's folder, or a coresets.parquet.")
]
ExportOut = Annotated[
    Path, typer.Option(help="FILE.csv, or a folder for the data set of what was selected.")
]
Regions = Annotated[
    str | None, typer.Option(metavar="A:B", help="Regions from A up to but not including B.")
]
SourcesAsForMislabelled = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[FOLDER]...", help="As for mislabelled."),
]
Score = Annotated[
    str, typer.Option(help=f"The score: {', '.join(SCORES)}.", autocompletion=scores_beginning)
]
Share = Annotated[
    float | None, typer.Option(min=0.0, max=1.0, help="Share of the examples that is kept.")
]
Count = Annotated[int | None, typer.Option(min=1, help="How many are kept.")]
Lowest = Annotated[bool, typer.Option("--lowest", help="Keep the lowest scores, not the highest.")]
PerClass = Annotated[
    bool, typer.Option("--per-class", help="Keep as large a share of every class.")
]
Others = Annotated[
    bool, typer.Option("--others", help="Write those that are not kept: what to drop.")
]
TieSeed = Annotated[int, typer.Option(min=0, help="Draws among equal scores.")]
ShowLast = Annotated[bool, typer.Option("--show", help="Print the last report's table.")]
ShowPreset = Annotated[
    bool, typer.Option("--show", help="Print what it sets, and leave params.yaml.")
]


def described(*keys: str) -> str:
    r"""Return a list of parameters with their defaults, for the help of a command.

    What follows the letter \b is left as it is, not filled.
    """
    known, defaults = keys_of(Parameters), Parameters()
    values = {key: in_yaml(value_of(defaults, key)) for key in keys}
    first, second = (max(map(len, column)) for column in (values, values.values()))
    lines = [
        f"  {key:{first}}  {value:{second}}  {known[key].description or ''}"
        for key, value in values.items()
    ]
    head = "Parameters that matter, with their defaults; params.yaml sets them, -S one for a run:"
    short = [line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…" for line in lines]
    return "\n".join(["\b", head, *short, "docs/parameters.md has all of them, in full."])


def in_yaml(value: object) -> str:
    """Return a value of a parameter as params.yaml may have it."""
    plain = list(value) if isinstance(value, tuple) else value
    return plain if isinstance(plain, str) else json.dumps(plain).replace('"', "")
