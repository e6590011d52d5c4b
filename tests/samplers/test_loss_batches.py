"""The batch sampler that is told losses: its sequence, its lag, its state, its refusals."""

import json
import math
import sys
import textwrap
from itertools import chain, islice
from pathlib import Path
from subprocess import run

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader

import crest
from crest.artifacts import read_table
from crest.errors import OrderError, ParameterError, TrainingError
from crest.samplers.loss_batches import LossBatchSampler
from crest.samplers.rules import RULES

ROOT = Path(__file__).resolve().parents[2]
N, M, STEPS = 203, 16, 60
LOSSES = torch.rand(N, generator=torch.Generator().manual_seed(9)) + 0.01
GROUPS = torch.arange(N) % 3


def sampler(**options):
    settings = {"count": N, "batch_size": M, "steps": STEPS, "lag": 9} | options
    return LossBatchSampler(**settings)


def losses_of(indices, step):
    """What training might have: another for each example and step, and less and less."""
    return LOSSES[indices] * (1.0 + math.sin(step + 1.0)) * 0.9**step + 0.001


def outcomes_of(indices, step):
    """What a classifier of five classes might name, class 0 being right."""
    named = (indices * 7 + step * step) % 5
    return named == 0, named


def trained(made, stop=None, losses=losses_of, first=0):
    """The batches of a plain loop without a loader, up to a number of steps."""
    batches = []
    for step, batch in enumerate(islice(made, stop), first):
        batches.append(batch)
        indices = torch.tensor(batch)
        more = outcomes_of(indices, step) if made.records else ()
        made.update(batch, losses(indices, step), *more)
    return batches


def loaded(made, workers, prefetch=2):
    """The batches of a loop over a DataLoader."""
    data = crest.Indexed(TensorDataset(LOSSES))
    more = {"num_workers": workers, "prefetch_factor": prefetch} if workers else {}
    batches = []
    for step, (indices, _) in enumerate(DataLoader(data, batch_sampler=made, **more)):
        batches.append(indices.tolist())
        made.update(indices, losses_of(indices, step))
    return batches


@pytest.mark.parametrize("rule", ["random", "focused"])
def test_a_batch_has_no_example_twice_and_all_are_of_the_data(rule) -> None:
    batches = trained(sampler(rule=rule))
    assert len(batches) == STEPS
    assert all(len(set(batch)) == M and 0 <= min(batch) <= max(batch) < N for batch in batches)
    assert all(type(index) is int for index in batches[0])


def test_random_takes_every_example_once_a_round() -> None:
    order = [index for batch in trained(sampler(rule="random")) for index in batch]
    for start in range(0, len(order) - N, N):
        assert sorted(order[start : start + N]) == list(range(N))


def test_the_first_round_is_random_whatever_the_rule() -> None:
    """No losses are known yet."""
    count = N // M
    assert trained(sampler(), count) == trained(sampler(rule="random"), count)


def test_examples_take_part_as_often_as_their_chance_says() -> None:
    """Constant losses: π = (ℓ / mean ℓ)^0.5 in [0.25, 1] a round, which is closed form."""
    losses = torch.linspace(0.0, 2.0, 50)
    made = LossBatchSampler(50, 5, 6000, until=1.0, onset=None, lag=1, seed=3)
    counts = torch.zeros(50)
    for step, batch in enumerate(made):
        if step >= 100:
            counts[batch] += 1
        made.update(batch, losses[batch])
    chance = (losses / losses.mean()).sqrt().clamp(0.25, 1.0)
    assert torch.allclose(counts / counts.sum(), chance / chance.sum(), atol=0.0015)


def test_after_until_all_come_alike() -> None:
    made = LossBatchSampler(40, 10, 400, until=0.5, onset=None, lag=1)
    batches = trained(made, losses=lambda indices, _: indices.float() / 40)
    early = torch.tensor(batches[:200]).flatten().bincount(minlength=40)
    late = torch.tensor(batches[210:]).flatten().bincount(minlength=40)
    assert early[0] < early[39] / 2
    assert late.max() - late.min() <= 2


@pytest.mark.parametrize("rule", ["stratified", "focused"])
def test_with_groups_every_batch_has_their_shares(rule) -> None:
    batches = trained(sampler(rule=rule, groups=GROUPS))
    for batch in batches[: N // M]:
        shares = GROUPS[batch].bincount(minlength=3) / M
        assert (shares - 1 / 3).abs().max() <= 2 / M


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on few cores
@pytest.mark.parametrize(("workers", "prefetch"), [(0, None), (1, 2), (2, 2), (2, 4), (4, 2)])
def test_workers_and_prefetching_change_nothing(workers, prefetch) -> None:
    assert loaded(sampler(), workers, prefetch) == trained(sampler())


def test_a_batch_depends_on_losses_up_to_its_number_less_the_lag_only() -> None:
    """Batch 12 begins the second round, of more than six: by losses of 0 to 3 with a lag of 9."""
    reference = trained(sampler(onset=None))

    def changed_from(step):
        def losses(indices, at):
            return losses_of(indices, at) * (100.0 if at >= step else 1.0)

        return trained(sampler(onset=None), losses=losses)

    assert changed_from(4)[:18] == reference[:18]
    assert changed_from(3)[:18] != reference[:18]


@pytest.mark.parametrize("lag", [1, 2, 4])
def test_too_small_a_lag_is_refused_with_the_right_one(lag) -> None:
    with pytest.raises(ParameterError, match=f"lag: {lag} is too small.*use lag=5 or more"):
        loaded(sampler(lag=lag), workers=2)
    assert len(loaded(sampler(lag=5), workers=2)) == STEPS


@pytest.mark.parametrize("stop", [1, 11, 12, 13, 14, 30, 59])
@pytest.mark.parametrize("groups", [None, GROUPS])
def test_a_run_that_is_resumed_goes_on_as_if_it_never_stopped(stop, groups) -> None:
    whole = trained(sampler(groups=groups))
    begun = sampler(groups=groups)
    assert trained(begun, stop) == whole[:stop]
    state = begun.state_dict()
    resumed = sampler(groups=groups)
    resumed.load_state_dict(state)
    assert trained(resumed, first=stop) == whole[stop:]


def test_batches_that_a_loader_had_drawn_ahead_are_neither_lost_nor_repeated() -> None:
    whole = trained(sampler())
    begun, data = sampler(), crest.Indexed(TensorDataset(LOSSES))
    loader = DataLoader(data, batch_sampler=begun, num_workers=2)
    for step, (indices, _) in enumerate(loader):
        begun.update(indices, losses_of(indices, step))
        if step == 24:
            break
    resumed = sampler()
    resumed.load_state_dict(begun.state_dict())
    assert trained(resumed, first=25) == whole[25:]


@pytest.mark.filterwarnings("ignore:.set_vital. is deprecated:UserWarning")  # torchdata's
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [5, 25])
def test_a_stateful_loader_is_resumed_with_the_samplers_own_state(workers, stop) -> None:
    whole, data = trained(sampler()), crest.Indexed(TensorDataset(LOSSES))

    def loop(made, loader, first, stop=STEPS):
        batches = []
        for step, (indices, _) in enumerate(loader, first):
            batches.append(indices.tolist())
            made.update(indices, losses_of(indices, step))
            if step + 1 == stop:
                break
        return batches

    def loader(made):
        return StatefulDataLoader(data, batch_sampler=made, num_workers=workers)

    begun = sampler()
    left = loader(begun)
    assert loop(begun, left, 0, stop) == whole[:stop]
    states = begun.state_dict(), left.state_dict()
    resumed = sampler()
    going_on = loader(resumed)
    resumed.load_state_dict(states[0])
    going_on.load_state_dict(states[1])
    assert loop(resumed, going_on, stop) == whole[stop:]
    alone = sampler()  # the loader's state knows no losses that came after its last draw
    going_on = loader(alone)
    going_on.load_state_dict(states[1])
    batches = loop(alone, going_on, stop)
    assert len(batches) == STEPS - stop
    assert batches[:5] == whole[stop : stop + 5]


def test_an_iteration_that_was_left_is_taken_up_by_the_next() -> None:
    whole, made = trained(sampler()), sampler()
    first = iter(made)
    for step in range(3):
        made.update(next(first), losses_of(torch.tensor(whole[step]), step))
    assert next(first) == whole[3]  # drawn, not reported
    assert trained(made, first=3) == whole[3:]
    with pytest.raises(OrderError, match="another iteration has begun"):
        next(first)


def test_a_state_survives_torch_save(tmp_path) -> None:
    made = sampler()
    trained(made, 20)
    torch.save(made.state_dict(), tmp_path / "state.pt")
    resumed = sampler()
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert trained(resumed, first=20) == trained(sampler())[20:]


def test_epochs_are_parts_of_the_same_sequence() -> None:
    whole, made = trained(sampler()), sampler(epoch_steps=25)
    assert len(made) == 25
    parts = [trained(made, first=0), trained(made, first=25), trained(made, first=50)]
    assert [len(part) for part in parts] == [25, 25, 10]
    assert list(chain(*parts)) == whole
    with pytest.raises(OrderError, match="all 60 steps were drawn"):
        iter(made)


def test_random_needs_no_losses() -> None:
    made = sampler(rule="random", epoch_steps=30)
    assert list(made) + list(made) == trained(sampler(rule="random"))


def test_the_position_is_after_what_was_drawn_where_no_losses_are_reported() -> None:
    made, again = sampler(rule="random"), sampler(rule="random")
    drawn = list(islice(made, 10))
    again.load_state_dict(made.state_dict())
    assert made.position == again.position == 10
    assert drawn + list(again) == trained(sampler(rule="random"))
    assert again.position == again.steps


def test_parts_of_a_batch_may_be_reported_one_after_another() -> None:
    made = sampler()
    batches = []
    for step, batch in enumerate(made):
        batches.append(batch)
        values = losses_of(torch.tensor(batch), step)
        made.update(batch[:10], values[:10])
        made.update(batch[10:], values[10:])
    assert batches == trained(sampler())


def test_a_batch_may_be_reported_in_another_order() -> None:
    made = sampler()
    batches = []
    for step, batch in enumerate(made):
        batches.append(batch)
        turned = torch.tensor(batch).flip(0)
        made.update(turned, losses_of(turned, step))
    assert batches == trained(sampler())


def test_forgotten_updates_are_told() -> None:
    made = sampler()
    with pytest.raises(OrderError, match=r"batch 12 depends on the losses of batch 0, which were"):
        list(made)


def test_a_report_that_is_not_due_is_refused() -> None:
    made = sampler()
    batches = iter(made)
    one, two = next(batches), next(batches)
    with pytest.raises(OrderError, match="batch 1, which is due after batch 0"):
        made.update(two, torch.ones(M))
    made.update(one, torch.ones(M))
    with pytest.raises(OrderError, match="batch 0, which is reported already"):
        made.update(one, torch.ones(M))
    foreign = next(index for index in range(N) if index not in two)
    with pytest.raises(OrderError, match=f"index {foreign} is not of batch 1"):
        made.update([foreign, *two[1:]], torch.ones(M))
    with pytest.raises(OrderError, match="index 203 is outside the 203 examples"):
        made.update([N, *two[1:]], torch.ones(M))
    made.update(two, torch.ones(M))
    with pytest.raises(OrderError, match="no batch is due"):
        made.update(two, torch.ones(M))


def test_what_a_batch_still_lacks_is_said() -> None:
    made = sampler()
    batches = iter(made)
    one, two = next(batches), next(batches)
    with pytest.raises(OrderError, match="a part of batch 0 in another order, or not from its st"):
        made.update(one[:3] + one[4:], torch.ones(M - 1))  # without a row in the middle
    made.update(one[:11], torch.ones(11))
    lacks = "and batch 0 still lacks 5 of its 16 examples"
    with pytest.raises(OrderError, match=f"indices of batch 1, {lacks}"):
        made.update(two, torch.ones(M))
    with pytest.raises(OrderError, match=f"indices of batch 0, {lacks}"):
        made.update(one, torch.ones(M))
    made.update(one[11:], torch.ones(5))
    made.update(two, torch.ones(M))


def test_a_loss_that_is_none_is_named_before_the_order() -> None:
    made = sampler()
    batch = next(iter(made))
    made.update(batch[:8], torch.ones(8))
    with pytest.raises(TrainingError, match=f"the loss of example {batch[0]} is nan"):
        made.update(batch, torch.full((M,), torch.nan))


@pytest.mark.parametrize(
    ("losses", "says"),
    [
        (torch.tensor(0.5), "a single number; give one for each example"),
        (torch.ones(M, 2), "16×2; give one for each example"),
        (torch.ones(M + 1), "17 losses, and a batch has 16 examples"),
    ],
)
def test_the_mean_is_of_one_loss_for_each_example(losses, says) -> None:
    with pytest.raises(ParameterError, match=rf"LossBatchSampler\.mean: .*{says}"):
        sampler().mean(losses)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -0.5])
def test_losses_that_are_none_are_refused_with_their_example(wrong) -> None:
    made = sampler()
    batch = next(iter(made))
    losses = torch.ones(M)
    losses[3] = wrong
    with pytest.raises(TrainingError, match=f"the loss of example {batch[3]} is {wrong}"):
        made.update(batch, losses)


def test_a_mean_in_place_of_losses_is_refused() -> None:
    made = sampler()
    batch = next(iter(made))
    with pytest.raises(ParameterError, match="a single number; give one for each example"):
        made.update(batch, torch.tensor(0.5))
    with pytest.raises(ParameterError, match="15 losses for 16 indices"):
        made.update(batch, torch.ones(M - 1))
    with pytest.raises(ParameterError, match="0 losses for 0 indices"):
        made.update(torch.empty(0, dtype=torch.int64), torch.empty(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": N + 1}, "batch_size: 204 is more than 203 examples"),
        ({"rule": "focussed"}, "'focussed' is not one of"),
        ({"rule": ["ucb"]}, r"rule: \['ucb'\] is not one of random, "),
        ({"rule": "stratified"}, "needs groups"),
        ({"groups": [0, 1]}, "groups: 2 for 203 examples"),
        ({"exponents": 1.0}, "has no option 'exponents'; did you mean 'exponent'"),
        ({"group": GROUPS}, "'focused' has no option 'group'; did you mean 'groups'?"),
        ({"floor": 0.0}, "floor: must be a number from"),
        ({"lag": 0}, "lag: 0 is not from 1"),
        ({"rank": 2, "num_replicas": 2}, "rank: 2 is not one of 2"),
        ({"rank": -1, "num_replicas": 2}, "rank: -1 is not from 0"),
        ({"rank": "0", "num_replicas": 2}, "rank: must be a whole number from 0 up, not '0'"),
        ({"rank": 0, "num_replicas": 0}, "num_replicas: 0 is not from 1"),
        ({"rank": 0, "num_replicas": 2.5}, "num_replicas: must be a whole number from 1 up"),
        ({"batch_size": 2, "rank": 0, "num_replicas": 3}, "cannot be shared by 3 processes"),
    ],
)
def test_arguments_that_cannot_be_are_refused(options, message) -> None:
    with pytest.raises(ParameterError, match=message):
        sampler(**options)


def test_a_state_of_other_arguments_is_refused() -> None:
    with pytest.raises(ParameterError, match="other seed, lag"):
        sampler(seed=1, lag=3).load_state_dict(sampler().state_dict())


def test_the_mean_is_that_of_the_whole_batch_whose_parts_may_differ() -> None:
    """DDP averages the gradients of four processes, which have 4, 5, 4 and 5 of 18 examples."""
    ranks = [sampler(batch_size=18, num_replicas=4, rank=r, rule="random") for r in range(4)]
    parts = [LOSSES[next(iter(made))] for made in ranks]
    assert {len(part) for part in parts} == {4, 5}
    averaged = sum(made.mean(part) for made, part in zip(ranks, parts, strict=True)) / 4
    assert torch.isclose(averaged, torch.cat(parts).mean())


def test_the_position_is_that_of_the_first_batch_which_was_not_reported() -> None:
    made = sampler()
    batches = iter(made)
    first = next(batches)
    next(batches)
    assert (made.position, made.batch_size, made.steps) == (0, M, STEPS)
    made.update(first, torch.ones(M))
    assert made.position == 1


def test_a_sampler_that_was_made_before_the_processes_were_joined_is_refused(monkeypatch) -> None:
    made, alone = sampler(), sampler(num_replicas=1, rank=0)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(OrderError, match=r"made for 1 process, before torch\.distributed had 2"):
        iter(made)
    iter(alone)  # as it was asked to


PROCESSES = """
    import json, sys
    from multiprocessing import get_context
    import torch, torch.distributed as dist
    from tests.samplers.test_loss_batches import GROUPS, sampler, trained
    def work(rank, size, store, results):
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
        begun = sampler(batch_size=18, record=True)
        parts = trained(begun, 31)
        state, resumed = begun.state_dict(), sampler(batch_size=18, record=True)
        resumed.load_state_dict(state)
        parts += trained(resumed, first=31)
        resumed.save(f"{store}-records", GROUPS)
        results.put((rank, (parts, resumed.examples(GROUPS).rows())))
        dist.destroy_process_group()
    size, store, context = int(sys.argv[1]), sys.argv[2], get_context("fork")
    results = context.Queue()
    ranks = [context.Process(target=work, args=(r, size, store, results)) for r in range(size)]
    for one in ranks: one.start()
    found = dict(results.get(timeout=100) for _ in ranks)
    for one in ranks: one.join()
    print(json.dumps([found[rank] for rank in range(size)]))
"""


@pytest.mark.parametrize("size", [2, 4])
def test_processes_share_the_same_sequence_also_when_resumed(size, tmp_path) -> None:
    code, store = textwrap.dedent(PROCESSES), str(tmp_path / "store")
    command = [sys.executable, "-c", code, str(size), store]
    done = run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    ranks, records = zip(*json.loads(done.stdout), strict=True)
    alone = sampler(batch_size=18, record=True)
    whole = trained(alone)
    examples = [list(row) for row in alone.examples(GROUPS).rows()]
    assert all(found == examples for found in records)
    saved = read_table(tmp_path / "store-records" / "examples.parquet")
    assert [list(row) for row in saved.rows()] == examples
    assert [list(chain(*parts)) for parts in zip(*ranks, strict=True)] == whole
    assert {len(parts[0]) for parts in ranks} <= {18 // size, -(-18 // size)}


def infobatch(stop: int = 40, made=None) -> tuple[LossBatchSampler, list[list[float]]]:
    """Train with InfoBatch; returns the sampler and the weights of each batch."""
    made = made or LossBatchSampler(N, M, 80, rule="infobatch", until=0.8, lag=3)
    weights = []
    for batch in made:
        weights.append(made.weights(batch).tolist())
        made.update(batch, torch.tensor([float(index % 7) for index in batch]) + 0.01)
        if len(weights) == stop:
            break
    return made, weights


def test_weights_are_those_of_the_rule_in_the_order_that_is_asked_for() -> None:
    made, weights = infobatch()
    drawn = iter(made)
    batch = next(drawn)
    assert {1.0, 2.0} == {weight for row in weights for weight in row}
    expected = torch.tensor([1.0 if index % 7 >= 3 else 2.0 for index in batch])
    assert set(expected.tolist()) == {1.0, 2.0}
    assert torch.equal(made.weights(batch), expected)
    assert torch.equal(made.weights(batch[::-1]), expected.flip(0))
    assert torch.equal(made.weights(torch.tensor(batch[3:5])), expected[3:5])
    losses = torch.arange(M).float()
    assert made.mean(losses, batch) == pytest.approx(float((losses * expected).mean()))
    made.update(batch, losses)
    assert torch.equal(made.weights(batch), expected)  # also after the report
    with pytest.raises(ParameterError, match="the rule 'infobatch' weighs losses"):
        made.mean(losses)
    with pytest.raises(ParameterError, match=rf"losses of shape \({M},\) for 3 indices"):
        made.mean(losses, batch[:3])
    outside = [index for index in range(N) if index not in batch][:4]
    next(drawn)
    with pytest.raises(OrderError, match="no indices of the batch"):
        made.weights([outside[0], batch[0], outside[1]])


def test_weights_of_a_run_that_is_resumed_are_those_of_one_that_never_stopped() -> None:
    whole = infobatch(80)[1]
    made, first = infobatch(33)
    ahead = iter(made)
    next(ahead), next(ahead)  # drawn and not trained on
    again = LossBatchSampler(N, M, 80, rule="infobatch", until=0.8, lag=3)
    again.load_state_dict(made.state_dict())
    assert first + infobatch(80, again)[1] == whole


def test_rules_without_weights_weigh_one_each() -> None:
    made = LossBatchSampler(N, M, 5, rule="random")
    for batch in made:  # no losses are asked for, and none are reported
        assert made.weights(batch).tolist() == [1.0] * M
    assert not made.weighted


@pytest.mark.parametrize("rule", sorted(RULES.keys() - {"random", "stratified", "focused"}))
def test_every_rule_is_the_same_with_workers_and_resumed(rule) -> None:
    groups = GROUPS if RULES[rule].needs_groups else None
    alone = trained(sampler(rule=rule, groups=groups))
    assert alone == loaded(sampler(rule=rule, groups=groups), 2)
    stopped, again = (sampler(rule=rule, groups=groups) for _ in range(2))
    first = trained(stopped, 31)
    again.load_state_dict(stopped.state_dict())
    assert first + trained(again, first=31) == alone


@pytest.mark.parametrize("rule", ["random", "focused", "infobatch"])
def test_an_example_takes_part_as_often_as_its_label_is_right(rule):
    quality = torch.linspace(0.0, 1.0, N)
    made = sampler(rule=rule, steps=40 * N // M, label_quality=quality)
    drawn = torch.zeros(N)
    for batch in trained(made, losses=lambda indices, step: torch.ones(len(indices))):
        assert len(set(batch)) == len(batch) == M
        drawn[batch] += 1
    assert drawn[0] == 0
    rounds = drawn[-1]  # which takes part in each
    thirds = drawn.div(rounds).split(N // 3 + 1), quality.split(N // 3 + 1)
    for share, chance in zip(*thirds, strict=True):
        assert share.mean() == pytest.approx(float(chance.mean()), abs=0.05)


def test_label_quality_is_part_of_what_a_state_is_of():
    quality = torch.linspace(0.0, 1.0, N)
    made = sampler(label_quality=quality)
    before = trained(made, 20)
    state = made.state_dict()
    rest = trained(made, first=20)
    again = sampler(label_quality=quality.tolist())
    again.load_state_dict(state)
    assert trained(again, first=20) == rest
    assert len(before) + len(rest) == STEPS
    with pytest.raises(ParameterError, match="other label_quality"):
        sampler().load_state_dict(state)


@pytest.mark.parametrize(
    ("quality", "says"),
    [
        (torch.ones(N - 1), "one number for each"),
        (["good"] * N, "numbers from 0 to 1"),
        (torch.where(torch.arange(N) == 7, torch.nan, 1.0), "row 7 is nan"),
        (torch.arange(N) / 100, "row 101 is 1.01"),
    ],
)
def test_label_quality_that_is_refused(quality, says):
    with pytest.raises(ParameterError, match=says):
        sampler(label_quality=quality)
