"""What cheaper choosing costs in quality: errors of the gradient and of the quadratic model.

    python -m benchmarks.quality.fidelity --project FOLDER --checkpoint state.pt --at 600 \
        --out f.json \
        --setting plain= --setting cheap=crest.selection=on_demand,crest.subset_coresets=2

FOLDER holds params.yaml and data/prepared; state.pt holds the weights and the optimiser's state
after --at steps of a run of --steps with random mini-batches, and is written where it is absent.
Two measurements, nothing excluded from V in either:

gradient: at fixed weights, of the step as training takes it (augmented, BatchNorm in train mode).
With e = g_S - g the error of one mini-batch's gradient, over all parameters:
  mini-batch  E|e|²
  bias        E<e, e'> of mini-batches from different subsets, what no averaging removes
  window      E|e_1 + ... + e_50|² / 50 along the steps of the second measurement, whose repeats
              of a mini-batch, and mini-batches of one subset, err in the same direction
  last layer  what of E|e|² is in the weights and biases of the last layer
each over E|e|² of a random mini-batch; g is the mean over --reference random mini-batches, whose
own noise is taken out. With --length 0 there is no second measurement, and no window; take it
for settings that remember what steps computed (crest.outputs: remembered, a crest.focus), since the
trajectory of the second is not their own.

The subsets are independent, or of each class its share where crest.draw says stratified: with
crest.subset_coresets=1 and a crest.subset_size of the mini-batch they are the mini-batches.

quadratic model: every setting's method follows one trajectory, trained on the first setting's
mini-batches from the checkpoint on. |F(δ) - L(w)| / L(w), with L the mean loss of one fixed sample
of --sample examples: at each setting's own checks, and one, two and four steps after each of its
regions opened, whether the region lasted so long or not.
"""

import argparse
import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.shared.machine import describe
from crest import config
from crest.config import Parameters
from crest.data.prepared import Prepared
from crest.devices.generators import generator_for
from crest.devices.precision import Precision, resolve_device, resolve_precision
from crest.inference.evaluator import Evaluator
from crest.inference.folding import FoldingEvaluator
from crest.methods.crest import CrestParameters
from crest.models import spec_for
from crest.models.head import last_layer
from crest.pipeline.inputs import fresh_model, prepared_data
from crest.pipeline.paths import Paths
from crest.pipeline.process import keep_freed_memory
from crest.pipeline.runs import context_of
from crest.regions.active import ActiveSet
from crest.regions.curvature import flatten, trained_parameters
from crest.regions.quadratic import QuadraticModel
from crest.samplers.crest import Crest
from crest.samplers.sizes import subset_size
from crest.selection.choices import find_choice
from crest.selection.choosing import choose_minibatch_coresets
from crest.selection.coresets import MiniBatchCoreset, uniform
from crest.selection.gradients import find_proxy
from crest.selection.shares import stratified_subset
from crest.training import optimizers
from crest.training.schedules import learning_rate

WINDOW = 50
WARM_UP = 20  # steps of the trajectory before errors count, for the averages to fill


@dataclass(frozen=True)
class Bench:
    """What all measurements share."""

    data: Prepared
    precision: Precision
    checkpoint: dict
    steps: int

    def model(self, parameters: Parameters) -> nn.Module:
        """Return the model of the checkpoint."""
        spec = spec_for(parameters.train, self.data.meta)
        model = fresh_model(spec, parameters.train.seed, self.precision.device)
        if self.checkpoint:
            model.load_state_dict(self.checkpoint["model"])
        return model

    def step_gradient(
        self, model: nn.Module, minibatch: MiniBatchCoreset, generator: torch.Generator
    ) -> Tensor:
        """Return the gradient that training would take on a mini-batch."""
        train = self.data.train
        with self.precision.autocast():
            draws = train.draw_views(len(minibatch.indices), generator)
            logits = model(train.views(minibatch.indices, draws))
        labels = train.labels[minibatch.indices].to(logits.device)
        losses = F.cross_entropy(logits.float(), labels, reduction="none")
        loss = (losses * minibatch.weights.to(losses.device)).mean()
        return flatten(torch.autograd.grad(loss, trained_parameters(model)))


@dataclass
class Errors:
    """Errors of a setting's quadratic model, by when they were taken."""

    at_checks: list[float] = field(default_factory=list)
    after_1: list[float] = field(default_factory=list)
    after_2: list[float] = field(default_factory=list)
    after_4: list[float] = field(default_factory=list)
    # Quadratic models by the step at which their region opened.
    models: dict[int, QuadraticModel] = field(default_factory=dict)

    def note(self, method: Crest, step: int, weights: Tensor, loss: float) -> None:
        """Compare a method's models with the loss, just before it may check the last one."""
        for steps, errors in ((1, self.after_1), (2, self.after_2), (4, self.after_4)):
            if step - steps in self.models:
                errors.append(abs(self.models[step - steps](weights) - loss) / loss)
        self.models.pop(step - 4, None)
        region = method._region
        if region is not None and region.check_due:
            self.at_checks.append(abs(region.model(weights) - loss) / loss)

    def remember(self, method: Crest, step: int) -> None:
        """Keep the model of a region that has just opened."""
        region = method._region
        if region is not None and region.steps == 0:
            self.models[step] = region.model

    def summary(self) -> dict[str, dict[str, float]]:
        names = ("at_checks", "after_1", "after_2", "after_4")
        return {name: spread(getattr(self, name)) for name in names}


def train_checkpoint(
    data: Prepared, precision: Precision, parameters: Parameters, at: int, steps: int
) -> dict:
    """Take the first steps of a run with random mini-batches."""
    bench = Bench(data, precision, {}, steps)
    model = bench.model(parameters).train()
    optimizer = optimizers.build(model, parameters.train)
    generator = generator_for(parameters.train.seed, "checkpoint")
    for step in range(at):
        indices = torch.randint(
            len(data.train), (parameters.train.batch_size,), generator=generator
        )
        take_step(bench, model, optimizer, parameters, uniform(indices), step, generator)
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": at}


def take_step(
    bench: Bench,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    parameters: Parameters,
    minibatch: MiniBatchCoreset,
    step: int,
    generator: torch.Generator,
) -> None:
    """Take one step as the training loop does."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, bench.steps, parameters.train)
    gradient = bench.step_gradient(model, minibatch, generator)
    parts = split_like(gradient, model)
    for parameter, part in zip(trained_parameters(model), parts, strict=True):
        parameter.grad = part
    optimizer.step()


def choose(
    bench: Bench, model: nn.Module, parameters: Parameters, count: int
) -> list[list[MiniBatchCoreset]]:
    """Choose ``count`` mini-batches at the model's weights, one list for each subset."""
    settings, train = parameters.of(CrestParameters), bench.data.train
    batch = parameters.train.batch_size
    size = subset_size(settings, len(train), batch)
    generator = generator_for(0, "fidelity")
    active, proxy = ActiveSet(len(train)), find_proxy(settings.proxy)
    choice, each = find_choice(settings.choice), settings.subset_coresets
    evaluator = FoldingEvaluator.of(Evaluator(model, train, bench.precision))
    groups = []
    for _ in range(-(-count // settings.subset_coresets)):
        if settings.draw.startswith("stratified"):
            subset = stratified_subset(active.members(), train.labels, size, generator)
        else:
            subset = active.draw(size, generator)
        with evaluator.folded():
            scored = evaluator.score(subset)
        gradients = proxy(scored, last_layer(model))
        groups.append(
            choose_minibatch_coresets(scored, gradients, 1, batch, choice, generator, each)
        )
    return groups


@dataclass(frozen=True)
class Reference:
    """The gradient of all the data as training takes it, and how random mini-batches err."""

    gradient: Tensor
    noise: Tensor  # E(gradient - g)², of each parameter
    random_error: float  # E|e|² of a random mini-batch


def measure_reference(bench: Bench, parameters: Parameters, count: int) -> Reference:
    model = bench.model(parameters).train()
    generator = generator_for(0, "reference")
    total, squares = torch.zeros(()), torch.zeros(())
    for _ in range(count):
        indices = torch.randint(
            len(bench.data.train), (parameters.train.batch_size,), generator=generator
        )
        gradient = bench.step_gradient(model, uniform(indices), generator).double()
        total = total + gradient
        squares = squares + gradient.square()
    mean = total / count
    variance = (squares - count * mean.square()) / (count - 1)
    return Reference(mean, variance / count, float(variance.sum()))


def in_last_layer(model: nn.Module) -> Tensor:
    """Return which places of a flat gradient are the last layer's; bool."""
    last = {id(parameter) for parameter in last_layer(model).parameters()}
    parts = [
        torch.full((parameter.numel(),), id(parameter) in last)
        for parameter in trained_parameters(model)
    ]
    return torch.cat(parts)


def measure_gradients(
    bench: Bench, parameters: Parameters, reference: Reference, count: int
) -> dict[str, float]:
    """Mean inner products of errors, over the random mini-batch's error, and their spread."""
    model = bench.model(parameters).train()
    groups = choose(bench, model, parameters, count)
    generator = generator_for(0, "augmentation")
    rows: list[Tensor] = []
    again: list[Tensor] = []
    subsets: list[int] = []
    for number, group in enumerate(groups):
        for minibatch in group:
            for target in (rows, again):
                gradient = bench.step_gradient(model, minibatch, generator).double()
                target.append(gradient - reference.gradient)
            subsets.append(number)
    errors, others = torch.stack(rows), torch.stack(again)
    products = (errors @ errors.T + others @ others.T) / 2
    subset = torch.tensor(subsets)
    same = subset[:, None] == subset[None, :]
    same.fill_diagonal_(False)
    apart = subset[:, None] != subset[None, :]
    scale, noise = reference.random_error, float(reference.noise.sum())
    diagonal = products.diagonal()
    last = in_last_layer(model)
    in_last = (errors[:, last].square() + others[:, last].square()).sum(1).mean() / 2

    def mean(values: Tensor) -> float:
        return (float(values.mean()) - noise) / scale if values.numel() else 0.0

    return {
        "minibatch": mean(diagonal),
        "minibatch_error": float(diagonal.std()) / len(diagonal) ** 0.5 / scale,
        "repeated": mean((errors * others).sum(1)),
        "same_subset": mean(products[same]),
        "bias": mean(products[apart]),
        "last_layer": float(in_last - reference.noise[last].sum()) / scale,
    }


def follow(
    bench: Bench, settings: dict[str, Parameters], length: int, sample: int
) -> tuple[dict[str, Errors], dict[str, list[tuple[int, int]]]]:
    """Let every setting's method follow one trajectory; the first one's mini-batches train."""
    first = next(iter(settings.values()))
    model = bench.model(first)
    optimizer = optimizers.build(model, first.train)
    optimizer.load_state_dict(bench.checkpoint["optimizer"])
    start, train = int(bench.checkpoint["step"]), bench.data.train
    examples = torch.randperm(len(train), generator=generator_for(0, "sample"))[:sample]
    evaluator = FoldingEvaluator.of(Evaluator(model, train, bench.precision))
    methods = {
        name: Crest(
            context_of(parameters, "crest", bench.data, model, bench.steps, bench.precision)
        )
        for name, parameters in settings.items()
    }
    errors = {name: Errors() for name in methods}
    taken: dict[str, list[tuple[int, int]]] = {name: [] for name in methods}
    augmentation = generator_for(0, "augmentation")
    model.train()
    for step in range(length):
        with evaluator.folded():
            loss = float(evaluator.score(examples).losses.double().mean())
        weights = flatten(trained_parameters(model))
        if step >= WARM_UP:
            for name, method in methods.items():
                errors[name].note(method, step, weights, loss)
        chosen = {name: method.minibatch(start + step) for name, method in methods.items()}
        for name, minibatch in chosen.items():
            errors[name].remember(methods[name], step)
            taken[name].append((minibatch.region, minibatch.number))
        minibatch = next(iter(chosen.values()))
        take_step(bench, model, optimizer, first, minibatch, start + step, augmentation)
        for name, method in methods.items():
            method.update(chosen[name], None, 0.0)
    return errors, taken


def split_like(vector: Tensor, model: nn.Module) -> list[Tensor]:
    """Cut a flat vector into tensors of the parameters' shapes."""
    parameters = trained_parameters(model)
    parts = vector.split([parameter.numel() for parameter in parameters])
    return [
        part.view(parameter.shape).clone(memory_format=torch.preserve_format)
        for part, parameter in zip(parts, parameters, strict=True)
    ]


def window_error(gradients: dict[str, float], taken: list[tuple[int, int]], each: int) -> float:
    """E|e_1 + ... + e_50|² / 50 of the mini-batches that the steps took.

    Each ordered pair of steps in a window adds the inner product of its two errors.
    """
    total, windows = 0.0, 0
    for start in range(0, len(taken) - WINDOW + 1, 10):
        window = taken[start : start + WINDOW]
        for place, (region, number) in enumerate(window):
            total += gradients["minibatch"]
            for other_region, other in window[:place] + window[place + 1 :]:
                if region != other_region or number // each != other // each:
                    total += gradients["bias"]
                else:
                    total += gradients["repeated" if number == other else "same_subset"]
        windows += 1
    return total / (windows * WINDOW)


def spread(values: list[float]) -> dict[str, float]:
    if len(values) < 2:
        return {"mean": float("nan"), "error": float("nan"), "count": len(values)}
    error = statistics.stdev(values) / len(values) ** 0.5
    return {"mean": statistics.mean(values), "error": error, "count": len(values)}


def show(rows: list[dict]) -> None:
    names = ("at_checks", "after_1", "after_2", "after_4")
    with_rho = [name for name in names if any(row["model"][name]["count"] for row in rows)]
    heads = "".join(f"{'F ' + name.replace('_', ' '):>21}" for name in with_rho)
    print(f"{'setting':12} {'mini-batch':>15} {'last layer':>10} {'bias':>7} {'window':>7}{heads}")
    for row in rows:
        gradients = row["gradients"]
        cells = f"{row['name']:12} {'':15} {'':10} {'':7} {'':7}"
        if gradients:
            error = f"{gradients['minibatch']:.3f} ± {gradients['minibatch_error']:.3f}"
            window = "–" if row["window"] is None else f"{row['window']:.3f}"
            cells = f"{row['name']:12} {error:>15} {gradients['last_layer']:10.3f}"
            cells += f" {gradients['bias']:7.4f} {window:>7}"
        for name in with_rho:
            found = row["model"][name]
            text = f"{found['mean']:.4f} ± {found['error']:.4f} ({found['count']})"
            cells += f"{text:>21}"
        print(cells, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--at", type=int, default=600, help="step of a checkpoint to write")
    parser.add_argument("--steps", type=int, default=2000, help="of the checkpoint's whole run")
    parser.add_argument("--setting", action="append", required=True, help="NAME=KEY=VALUE,...")
    parser.add_argument("-S", dest="overrides", action="append", default=[], help="for all")
    parser.add_argument("--minibatches", type=int, default=96, help="of each setting; 0: none")
    parser.add_argument("--reference", type=int, default=300, help="random mini-batches")
    parser.add_argument("--length", type=int, default=80, help="steps of the trajectory; 0: none")
    parser.add_argument("--sample", type=int, default=2500, help="examples of the measured loss")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if 0 < arguments.length < WINDOW:
        parser.error(f"--length: a window is {WINDOW} steps; take at least as many, or 0")
    keep_freed_memory()
    file = arguments.project / "params.yaml"
    shared = [*arguments.overrides, "crest.learned.window=0"]
    common = config.load(file, shared)
    if common.train.threads is not None:
        torch.set_num_threads(common.train.threads)
    precision = resolve_precision(common.train.precision, resolve_device(common.train.device))
    data = prepared_data(common, Paths(arguments.project), precision.device)
    if not arguments.checkpoint.exists():
        state = train_checkpoint(data, precision, common, arguments.at, arguments.steps)
        torch.save(state, arguments.checkpoint)
    state = torch.load(arguments.checkpoint, map_location=precision.device)
    bench = Bench(data, precision, state, arguments.steps)
    settings = {}
    for text in arguments.setting:
        name, _, overrides = text.partition("=")
        settings[name] = config.load(file, [*shared, *filter(None, overrides.split(","))])
    errors, taken = follow(bench, settings, arguments.length, arguments.sample)
    gradients: dict[str, dict[str, float]] = {name: {} for name in settings}
    signal = None
    if arguments.minibatches:
        reference = measure_reference(bench, common, arguments.reference)
        signal = float(reference.gradient.square().sum() - reference.noise.sum())
        signal /= reference.random_error
        print(f"|g|² over a random mini-batch's error: {signal:.4f}")
        for name, parameters in settings.items():
            gradients[name] = measure_gradients(bench, parameters, reference, arguments.minibatches)
    rows = [
        {
            "name": name,
            "gradients": gradients[name],
            "window": window_error(
                gradients[name], taken[name], parameters.of(CrestParameters).subset_coresets
            )
            if gradients[name] and arguments.length
            else None,
            "model": errors[name].summary(),
        }
        for name, parameters in settings.items()
    ]
    show(rows)
    if arguments.out is not None:
        report = {"machine": describe(), "step": bench.checkpoint["step"], "settings": rows}
        report["signal"] = signal
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
