"""A DataLoader with workers on Coresets: the same mini-batches, whoever draws them and when."""

import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from crest import Coresets, Indexed, Weighted, economical
from crest.errors import OrderError, ParameterError
from crest.loop_support.batches import FORGOTTEN
from crest.samplers.saved import read_coresets
from tests.tiny import CLASSES, linear_model, linear_split

SPLIT = linear_split()
STEPS, SIZE, LAG = 24, 4, 5
ECONOMICAL = economical(SIZE) | {"subset_coresets": 2, "curvature_interval": 3, "focus_until": 0.9}
METHODS: dict[str, dict] = {
    "random": {},
    "focused": {},
    "crest": {"subset_size": 12},
    "economical": ECONOMICAL,
    "greedy": {"subset_size": 12, "learned_window": 5},
    "craig": {"coreset_size": 12},
    "glister": {"coreset_size": 12, "gradient_updates": 3},
}
ALWAYS_THE_SAME = ["full", "random", "sgd", "large", "stratified"]

Batch = tuple[list[int], list[float]]
Step = Callable[["Loop", int], object]


class Loop:
    """SGD on the linear model, over whatever yields indices and weights."""

    def __init__(self, method: str = "crest", lag: int = LAG, **options: object) -> None:
        name = "crest" if method == "economical" else method
        settings: dict = {"steps": STEPS, "batch_size": SIZE, "lag": lag, **METHODS.get(method, {})}
        self.model = linear_model()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.3, momentum=0.9)
        self.coresets = Coresets(
            self.model, SPLIT.inputs, SPLIT.labels, method=name, **(settings | options)
        )
        self.taken: list[Batch] = []

    def run(
        self,
        batches: Iterable[tuple[Tensor, Tensor]],
        stop: int = STEPS,
        before: Step | None = None,
    ) -> "Loop":
        for indices, weights in batches:
            self.taken.append((indices.tolist(), weights.tolist()))
            logits = self.model(SPLIT.inputs(indices))
            losses = F.cross_entropy(logits, SPLIT.labels[indices], reduction="none")
            self.optimizer.zero_grad()
            (losses * weights).mean().backward()
            self.optimizer.step()
            if before is not None:
                before(self, self.coresets.steps_taken)
            self.coresets.step(logits)
            if self.coresets.steps_taken == stop:
                break
        return self

    def plain(self, stop: int = STEPS, before: Step | None = None) -> "Loop":
        return self.run(self.coresets, stop, before)

    def prefetched(self, ahead: int, stop: int = STEPS) -> "Loop":
        return self.run(prefetched(self.coresets.batch_sampler(), ahead), stop)

    def loaded(self, workers: int, stop: int = STEPS) -> "Loop":
        return self.run(of_loader(loader(self.coresets, workers)), stop)


def prefetched(sampler: Iterable, ahead: int) -> Iterator[tuple[Tensor, Tensor]]:
    """As a loader: so many batches are drawn ahead, and one more for each that is delivered."""
    batches = iter(sampler)
    waiting = deque(batch for _ in range(ahead) if (batch := next(batches, None)) is not None)
    while True:
        if (batch := next(batches, None)) is not None:
            waiting.append(batch)
        if not waiting:
            return
        indices, weights = zip(*waiting.popleft(), strict=True)
        yield torch.tensor(indices), torch.tensor(weights)


def loader(coresets: Coresets, workers: int, kind: type = DataLoader) -> DataLoader:
    data = Weighted(Indexed(TensorDataset(SPLIT.features)))
    return kind(data, batch_sampler=coresets.batch_sampler(), num_workers=workers)


def of_loader(batches: Iterable) -> Iterator[tuple[Tensor, Tensor]]:
    for indices, features, weights in batches:
        assert torch.equal(features, SPLIT.features[indices])
        yield indices, weights


def weights_of(model: nn.Module) -> Tensor:
    return torch.cat([value.detach().flatten() for value in model.parameters()])


@pytest.mark.parametrize("method", METHODS)
def test_what_is_drawn_ahead_changes_nothing(method: str) -> None:
    whole = Loop(method).plain()
    assert len(whole.taken) == STEPS
    for ahead in (0, 1, LAG - 1):
        other = Loop(method).prefetched(ahead)
        assert other.taken == whole.taken
        assert torch.equal(weights_of(other.model), weights_of(whole.model))


@pytest.mark.parametrize(
    ("method", "workers"), [("economical", 0), ("economical", 2), ("crest", 1)]
)
def test_workers_change_nothing(method: str, workers: int) -> None:
    assert Loop(method).loaded(workers).taken == Loop(method).plain().taken


@pytest.mark.parametrize("method", ALWAYS_THE_SAME)
def test_what_the_model_does_not_matter_to_is_the_same_with_any_lag(method: str) -> None:
    assert Loop(method).plain().taken == Loop(method, lag=1).plain().taken


def test_saved_coresets_are_replayed_through_workers_with_any_lag(tmp_path) -> None:
    whole = Loop().plain()
    whole.coresets.save(tmp_path / "saved")
    saved = read_coresets(tmp_path / "saved", SPLIT.labels)
    assert Loop("replay", saved=saved).prefetched(LAG - 1).taken == whole.taken


@pytest.mark.parametrize("lag", [1, 2, 5])
def test_a_batch_is_chosen_once_the_step_its_lag_before_was_reported(lag: int) -> None:
    """Of greedy, whose every batch depends on the model: one that is lost between two reports."""
    reference = Loop("greedy", lag=lag).plain().taken

    def replace(loop: Loop, step: int) -> None:
        if step == 7:
            nn.init.normal_(loop.model.weight, generator=torch.Generator().manual_seed(3))

    changed = Loop("greedy", lag=lag).plain(before=replace).taken
    assert changed[: 7 + lag] == reference[: 7 + lag]
    assert changed[7 + lag] != reference[7 + lag]


@pytest.mark.parametrize("lag", [1, 4])
def test_too_small_a_lag_is_refused_with_the_right_one(lag: int) -> None:
    message = f"^lag: {lag} is too small: 5 batches were drawn before step 0 .* lag=5"
    with pytest.raises(ParameterError, match=message):
        Loop("random", lag=lag).loaded(workers=2)
    with pytest.raises(ParameterError, match="lag: 0 is not from 1"):
        Loop("random", lag=0)


def test_steps_that_are_not_reported_are_asked_for() -> None:
    with pytest.raises(
        OrderError, match=rf"next batch: {STEPS} batches .* step 0 was not reported"
    ):
        list(Loop("random").coresets.batch_sampler())
    many = Loop("random", steps=2000).coresets.batch_sampler()
    with pytest.raises(OrderError, match=f"next batch: {LAG + FORGOTTEN} batches were drawn"):
        list(many)
    loop = Loop("random")
    with pytest.raises(OrderError, match="step: no mini-batch was taken"):
        loop.coresets.step()


@pytest.mark.parametrize("method", ["crest", "economical", "craig", "greedy", "focused"])
@pytest.mark.parametrize("stop", [2, 11, STEPS - 2])
def test_what_a_loader_had_drawn_is_neither_lost_nor_repeated(method: str, stop: int) -> None:
    whole = Loop(method).plain()
    first, file = Loop(method).prefetched(LAG - 1, stop), io.BytesIO()
    parts = (first.model, first.optimizer, first.coresets)
    torch.save([part.state_dict() for part in parts], file)
    first.prefetched(LAG - 1)  # left and taken up, in the same process
    assert first.taken == whole.taken

    second = Loop(method)
    states = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    for part, state in zip((second.model, second.optimizer, second.coresets), states, strict=True):
        part.load_state_dict(state)
    assert second.prefetched(1).taken == whole.taken[stop:]
    assert torch.equal(weights_of(second.model), weights_of(whole.model))


@pytest.mark.filterwarnings("ignore:.set_vital. is deprecated:UserWarning")  # torchdata's
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_loader_is_resumed_with_the_coresets_own_state(workers: int) -> None:
    whole, begun = Loop("economical").plain(), Loop("economical")
    left = loader(begun.coresets, workers, StatefulDataLoader)
    begun.run(of_loader(left), 9)
    states = [part.state_dict() for part in (begun.model, begun.optimizer, begun.coresets, left)]
    resumed = Loop("economical")
    going_on = loader(resumed.coresets, workers, StatefulDataLoader)
    for part, state in zip(
        (resumed.model, resumed.optimizer, resumed.coresets, going_on), states, strict=True
    ):
        part.load_state_dict(state)
    assert resumed.run(of_loader(going_on)).taken == whole.taken[9:]
    alone = loader(Loop("economical").coresets, workers, StatefulDataLoader)
    alone.load_state_dict(states[3])
    with pytest.raises(OrderError, match="goes on after 9 batches, the Coresets after 0"):
        next(iter(alone))


def test_an_iteration_that_was_left_is_taken_up_by_the_next_or_by_a_plain_loop() -> None:
    whole, loop = Loop().plain(), Loop().prefetched(2, stop=6)
    old = iter(loop.coresets.batch_sampler())
    next(old)
    loop.prefetched(3, stop=11).plain(stop=15).prefetched(0)
    assert loop.taken == whole.taken
    with pytest.raises(OrderError, match="another iteration has begun"):
        next(old)
    assert list(loop.coresets.batch_sampler()) == list(loop.coresets) == []
    assert len(loop.coresets.batch_sampler()) == STEPS


@pytest.mark.parametrize("method", ["crest", "economical", "craig", "greedy"])
def test_tables_hold_what_was_chosen_ahead_and_in_the_end_what_was_trained_on(
    method: str, tmp_path
) -> None:
    loop = Loop(method).prefetched(LAG - 1, stop=9)
    tables = loop.coresets.tables()
    assert (len(tables["steps"]), tables["regions"]["end_step"].max()) == (9, 9 + LAG)
    loop.prefetched(LAG - 1)
    tables = loop.coresets.tables()
    regions = tables["regions"]
    assert regions["start_step"].to_list() == [0, *regions["end_step"].to_list()[:-1]]
    assert regions["end_step"].max() == len(tables["steps"]) == STEPS
    assert (regions["seconds_train"] > 0).sum() >= regions["region"].max()
    loop.coresets.save(tmp_path / "saved")
    replayed = read_coresets(tmp_path / "saved", SPLIT.labels).minibatches()
    assert [(indices.tolist(), weights.tolist()) for indices, weights in replayed] == loop.taken


def test_a_loop_within_one_autocast_block_is_noticed_with_batches_drawn_ahead() -> None:
    with (
        pytest.warns(UserWarning, match=r"within one torch\.autocast block") as found,
        torch.autocast("cpu", torch.bfloat16),
    ):
        Loop(precision="bf16").prefetched(LAG - 1)
    assert len(found) == 1


def compiled_model() -> tuple[nn.Module, list[str]]:
    """A compiled model, and a list of what was compiled."""
    graphs: list[str] = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> Callable:
        graphs.append(str(graph.graph))
        return graph.forward

    return torch.compile(linear_model(), backend=backend), graphs


@pytest.mark.parametrize("gradient", ["training", "coresets"])
def test_compiled_scaled_and_accumulated_steps_through_a_loader_are_those_of_a_plain_loop(
    gradient: str,
) -> None:
    """The scale is a power of 2 and the parts are halves: sums differ in their last bits."""
    options = ECONOMICAL | {"gradient": gradient}
    whole = Loop(**options).plain()
    model, graphs = compiled_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu")
    settings: dict = {"steps": STEPS, "batch_size": SIZE, "lag": LAG, **options}
    coresets = Coresets(model, SPLIT.inputs, SPLIT.labels, **settings)
    taken = []
    for indices, features, weights in loader(coresets, 0):
        taken.append(indices.tolist())
        optimizer.zero_grad()
        logits = []
        for some in torch.arange(SIZE).split(SIZE // 2):
            logits.append(model(features[some]))
            labels = SPLIT.labels[indices[some]]
            losses = F.cross_entropy(logits[-1], labels, reduction="none")
            scaler.scale((losses * weights[some]).sum() / SIZE).backward()
        scaler.step(optimizer)
        scaler.update()
        coresets.step(torch.cat(logits))
    assert taken == [indices for indices, _ in whole.taken]
    torch.testing.assert_close(weights_of(model), weights_of(whole.model))
    assert len(graphs) == 1  # scoring in between compiles nothing, and nothing anew


def test_a_choice_that_failed_within_a_report_is_made_by_the_next_draw() -> None:
    failing: list[bool] = []

    def inputs(indices: Tensor) -> Tensor:
        if failing and failing.pop():
            raise RuntimeError("the disk is away")
        return SPLIT.inputs(indices)

    settings: dict = {"steps": STEPS, "batch_size": SIZE, "lag": LAG, "subset_size": 12}
    coresets = Coresets(linear_model(), inputs, SPLIT.labels, method="greedy", **settings)
    for step, _ in enumerate(prefetched(coresets.batch_sampler(), LAG - 1)):
        if step != 6:
            coresets.step()
            continue
        failing.append(True)
        with pytest.raises(RuntimeError, match="the disk is away"):
            coresets.step()
    assert coresets.steps_taken == len(coresets.tables()["regions"]) == STEPS


def test_outputs_of_the_wrong_batch_are_noticed_where_their_shape_tells() -> None:
    loop = Loop("large", factor=2.0)
    next(iter(loop.coresets.batch_sampler()))
    with pytest.raises(ParameterError, match=f"pass the logits of the mini-batch, 8×{CLASSES}"):
        loop.coresets.step(torch.zeros(SIZE, CLASSES))
