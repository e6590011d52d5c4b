"""What the messages advise about parameters, and the command of one who takes the advice."""

from contextlib import nullcontext
from dataclasses import dataclass

from tests.bad_input.breaks import no_cuda, two_cores
from tests.bad_input.case import Surroundings
from tests.bad_input.project import SELECT

TRAIN = "train --method random"


@dataclass(frozen=True)
class Advice:
    """A command that fails, the words of its message that say what to do, and who does it.

    Parameters
    ----------
    followed
        The command that does what the words say; it goes on.
    """

    command: str
    words: str
    followed: str
    surroundings: Surroundings = nullcontext


# fmt: off

ADVICE = [
    Advice("train -S trian.lr=0.1", "did you mean 'train'?", f"{TRAIN} -S train.lr=0.1"),
    Advice("train -S crest.lr=0.1", "did you mean 'train.lr'?", f"{TRAIN} -S train.lr=0.1"),
    Advice("train -S lr=0.1", "section.key=value, e.g. train.budget=0.2",
           f"{TRAIN} -S train.budget=0.2"),
    Advice("prepare -S prepare.dataset=digit", "did you mean 'digits'?",
           "prepare -S prepare.dataset=digits -S prepare.source=null"),
    Advice("train -S train.lr=1e308", "must lie between 1e-30 and 1e+30",
           f"{TRAIN} -S train.lr=1e-30"),
    Advice("train -S crest.quadratic.order=2.0", "must be a whole number",
           "train -S crest.quadratic.order=2"),
    Advice("train -S crest.subset_size=1.5", "write a count as a whole number",
           "train -S crest.subset_size=15"),
    Advice("train -S train.nesterov=true -S train.momentum=0.0", "needs a train.momentum above 0",
           f"{TRAIN} -S train.nesterov=true -S train.momentum=0.1"),
    Advice("train -S train.augment_crop=9", "use at most 8", f"{TRAIN} -S train.augment_crop=8"),
    Advice(f"{TRAIN} -S train.batch_size=100", "use at most 42",
           f"{TRAIN} -S train.batch_size=42"),
    Advice(f"{TRAIN} -S train.epochs=0.01", "raise train.epochs",
           f"{TRAIN} -S train.epochs=0.2"),
    Advice(f"{TRAIN} -S train.epochs=0.01", "or lower train.batch_size",
           f"{TRAIN} -S train.epochs=0.02 -S train.batch_size=1"),
    Advice("train -S train.threads=1024", "use at most 32", f"{TRAIN} -S train.threads=32",
           two_cores),
    Advice("train -S train.threads=1024", "or null for one a core",
           f"{TRAIN} -S train.threads=null", two_cores),
    Advice("train -S train.device=cuda", "use 'auto' or 'cpu'", f"{TRAIN} -S train.device=auto",
           no_cuda),
    Advice("train -S train.model=alexnet", "a model for small ones, such as convnet",
           f"{TRAIN} -S train.model=convnet"),
    Advice("train -S train.activation_checkpointing=true", "set it to false",
           f"{TRAIN} -S train.activation_checkpointing=false"),
    Advice("train -S train.activation_checkpointing=true", "raise train.micro_batches",
           f"{TRAIN} -S train.micro_batches=8"),
    Advice("train -S crest.subset_size=100", "make it smaller", "train -S crest.subset_size=42"),
    Advice("train -S crest.subset_size=4", "make it larger", "train -S crest.subset_size=8"),
    Advice("train -S crest.subset_coresets=3", "lower it", "train -S crest.subset_coresets=2"),
    Advice("train -S crest.subset_coresets=3", "raise crest.subset_size",
           "train -S crest.subset_coresets=3 -S crest.subset_size=24"),
    Advice("train -S crest.outputs=remembered", "needs crest.selection: on_demand",
           "train -S crest.outputs=remembered -S crest.selection=on_demand"),
    Advice("train -S crest.focus.exponent=0.5", "needs crest.draw: without_replacement",
           "train -S crest.focus.exponent=0.5 -S crest.draw=without_replacement"),
    Advice("train -S crest.focus.exponent=0.5", "or stratified_without_replacement",
           "train -S crest.focus.exponent=0.5 -S crest.draw=stratified_without_replacement"),
    Advice("train -S crest.focus.ceiling=1.0", "needs a focus above 0",
           "train -S crest.focus.ceiling=1.0 -S crest.focus.exponent=0.1 "
           "-S crest.draw=without_replacement"),
    Advice("train -S crest.curvature.hutchinson_draws=1000", "use at most 262",
           "train -S crest.curvature.hutchinson_draws=2"),
    Advice(f"{SELECT} --minibatches 1000", "use at most 262", f"{SELECT} --minibatches 262"),
    Advice("train -S crest.quadratic.parameters=head.*", "full, last_layer",
           "train -S crest.quadratic.parameters=last_layer"),
    Advice("train -S crest.quadratic.parameters=head.*", "the last ones are norms.2.weight",
           "train -S crest.quadratic.parameters=norms.2.*"),
    Advice("train --method craig", "make it larger",
           "train --method craig -S craig.coreset_size=8"),
    Advice("train --method gradmatch -S gradmatch.per_class=false -S gradmatch.coreset_size=0.5",
           "is not one of logits, last_input",
           "train --method gradmatch -S gradmatch.per_class=false -S gradmatch.coreset_size=0.5 "
           "-S gradmatch.proxy=last_input"),
    Advice("train --method large -S large.factor=6.0", "make it smaller",
           "train --method large -S large.factor=5.0"),
    Advice("train --method random -S train.lr=1e30", "lower train.lr", f"{TRAIN} --fresh"),
    Advice("analyze -S analyze.scores_from=full", "run.methods (crest); name one of them",
           "analyze -S analyze.scores_from=crest"),
    Advice("select --checkpoint artifacts/train/crest/model.safetensors", "--json", SELECT),
    Advice("select --checkpoint artifacts/train/crest/model.safetensors", "--out FILE",
           SELECT.replace("--json", "--out c.parquet")),
    Advice(f"{SELECT} --out -", "leave one out", SELECT),
    Advice("export --out c.csv --regions 3", "write it as A:B", "export --out c.csv --regions 0:3"),
    Advice("export --out c.csv --regions 99:", "regions, 0 to 4",
           "export --out c.csv --regions 4:"),
    Advice("train --params nowhere.yaml", "run in the project folder", TRAIN),
]
