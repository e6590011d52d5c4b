"""What may be wrong with saved coresets and the tables of a run."""

import polars as pl

from tests.bad_input.breaks import content, cut, first_row, gone, table, without, zeros
from tests.bad_input.case import Case
from tests.bad_input.project import CORESETS, RUN, TRAIN

SELECT_AGAIN = "select them again, by training with the method they come from"

# fmt: off

REUSE = "reuse --model convnet"
SAVED_CORESETS = [
    Case("no run", f"{REUSE} --coresets artifacts/train/full",
         "artifacts/train/full: no such file; it is written by training with …"),
    Case("a run that selects nothing", REUSE,
         f"{RUN}/coresets.parquet: no such file; it is written by training with …", gone(CORESETS)),
    Case("an index out of range", REUSE,
         f"{RUN}/coresets.parquet: row 0: index 1000 is outside the 42 training examples; "
         "were these coresets chosen from other data?",
         table("coresets", first_row("index", 1000))),
    Case("an index out of range, exporting", "export --out c.csv",
         f"{RUN}/coresets.parquet: row 0: index 1000 is outside the 42 training examples; "
         "were these coresets chosen from other data?",
         table("coresets", first_row("index", 1000))),
    Case("a negative index", REUSE,
         f"{RUN}/coresets.parquet: row 0: index -1 is outside the 42 training examples; were "
         "these coresets chosen from other data?", table("coresets", first_row("index", -1))),
    Case("a negative weight", REUSE,
         f"{RUN}/coresets.parquet: row 0: weight -0.5 is not a number from 0 up; "
         f"{SELECT_AGAIN}", table("coresets", first_row("weight", -0.5))),
    Case("a weight that is NaN", REUSE,
         f"{RUN}/coresets.parquet: row 0: weight nan is not a number from 0 up; "
         f"{SELECT_AGAIN}", table("coresets", first_row("weight", float("nan")))),
    Case("an infinite weight", "train --method replay",
         f"{RUN}/coresets.parquet: row 0: weight inf is not a number from 0 up; "
         f"{SELECT_AGAIN}", table("coresets", first_row("weight", float("inf")))),
    Case("weights that are all 0", REUSE,
         f"{RUN}/coresets.parquet: row 0: every weight of its mini-batch is 0; {SELECT_AGAIN}",
         table("coresets", pl.col("weight") * 0)),
    Case("a null", REUSE,
         f"{RUN}/coresets.parquet: row 0 has a null; {SELECT_AGAIN}",
         table("coresets", first_row("index", None))),
    Case("other data", REUSE,
         f"{RUN}/coresets.parquet: row 0: example 11 has label 2, prepared data has 1; these "
         "coresets were chosen from other data", table("coresets", (pl.col("label") + 1) % 3)),
    Case("no rows", REUSE,
         f"{RUN}/coresets.parquet: holds no mini-batch; {SELECT_AGAIN}",
         table("coresets", where=pl.lit(False))),
    Case("a missing region", REUSE,
         f"{RUN}/coresets.parquet: region 1 is missing; {SELECT_AGAIN}",
         table("coresets", where=pl.col("region") != 1)),
    Case("a missing mini-batch", REUSE,
         f"{RUN}/coresets.parquet: mini-batch 0 of region 0 is missing; {SELECT_AGAIN}",
         table("coresets", where=pl.col("minibatch") != 0)),
    Case("a step on a mini-batch that is not there", REUSE,
         f"{RUN}/coresets.parquet: step 0 was trained on mini-batch 51 of region 0, which is "
         f"not in the coresets; {SELECT_AGAIN}", table("steps", pl.col("minibatch") + 50)),
    Case("a newer schema", REUSE,
         f"{RUN}/coresets.parquet: schema version 2, this code reads version 1; make it "
         "again, or use the code that wrote it", table("coresets", schema=2)),
    Case("another table", f"{REUSE} --coresets {RUN}/steps.parquet",
         f"{RUN}/steps.parquet: holds a 'steps' table where a 'coresets' table is needed; "
         "name another file"),
    Case("a name that is too long", f"{REUSE} --coresets {'x' * 300}", "…: File name too long"),
    Case("somebody else's Parquet file", f"{REUSE} --coresets {TRAIN}",
         "source/train.parquet: not written by this project (no schema version inside); name"
         " a file that was"),
    Case("a missing column", REUSE,
         f"{RUN}/coresets.parquet: column 'weight' is missing; it has ['region', 'minibatch',"
         " 'position', 'index', 'label', 'loss']; make it again", without("coresets", "weight")),
    Case("a column of another type", REUSE,
         f"{RUN}/coresets.parquet: column 'index' is String, it must be Int64; make it again",
         table("coresets", pl.col("index").cast(pl.String))),
    Case("a file cut short", REUSE,
         f"{RUN}/coresets.parquet: not a whole Parquet file …; make it again", cut(CORESETS)),
    Case("zeros in the middle", REUSE,
         f"{RUN}/coresets.parquet: not a whole Parquet file …; make it again",
         zeros(CORESETS, 4, 400)),
    Case("steps cut short", REUSE,
         f"{RUN}/steps.parquet: not a whole Parquet file …; make it again",
         cut(RUN / "steps.parquet")),
    Case("analysed with an index out of range", "analyze",
         f"{RUN}/coresets.parquet: index 1000 is not one of 42 examples; make it again with "
         "`python cli.py train --method crest`", table("coresets", first_row("index", 1000))),
    Case("analysed without its regions", "analyze",
         f"{RUN}/regions.parquet: no such file; it is written by the stage before this one",
         gone(RUN / "regions.parquet")),
    Case("reported without an evaluation", "report",
         "artifacts/evaluate/crest: not there; make it with `python cli.py evaluate --method"
         " crest`, or take it out of run.methods", gone("artifacts/evaluate/crest")),
    Case("reported without an analysis", "report",
         "artifacts/analyze: not there; make it with `python cli.py analyze`",
         gone("artifacts/analyze")),
    Case("reported from metrics that are text", "report",
         "artifacts/evaluate/crest/metrics.json: 'accuracy' must be a number, it is 'high'; "
         "make it again",
         content("artifacts/evaluate/crest/metrics.json", b'{"accuracy": "high"}')),
    Case("shown before it was made", "report --show",
         "artifacts/report/summary.csv: no such file; make it with `python cli.py report`",
         gone("artifacts/report")),
]
