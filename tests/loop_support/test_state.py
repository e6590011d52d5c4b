"""The state of Coresets: exactly as it was, or refused in words whatever was done to it."""

import copy
import pickle
import random

import pytest
import torch
from torch import Tensor, nn

from crest import Coresets
from crest.errors import CrestError, OrderError, ParameterError
from crest.loop_support.state import digest_of
from tests.tiny import CLASSES, convnet, image_split, linear_model, linear_split

METHODS = ("random", "focused", "stratified", "crest", "greedy", "craig", "gradmatch", "glister")
SECTIONS: dict = {
    "crest": {"subset_size": 12},
    "greedy": {"subset_size": 12},
    "craig": {"coreset_size": 12},
    "gradmatch": {"coreset_size": 12},
    "glister": {"coreset_size": 12, "gradient_updates": 3},
}


def linear(method: str = "crest", model: nn.Module | None = None, **options: object) -> Coresets:
    split = linear_split()
    arguments: dict = {"steps": 8, "batch_size": 4, **SECTIONS, **options}
    model = model or linear_model()
    return Coresets(model, split.inputs, split.labels, method=method, **arguments)


def taken(coresets: Coresets, steps: int) -> Coresets:
    while coresets.steps_taken < steps:
        indices, _ = next(iter(coresets))
        coresets.step(torch.zeros(len(indices), CLASSES))
    return coresets


def leaves(tree: object, path: tuple = ()) -> list[tuple]:
    if isinstance(tree, dict):
        return [leaf for key, part in tree.items() for leaf in leaves(part, (*path, key))]
    if isinstance(tree, list):
        return [leaf for place, part in enumerate(tree) for leaf in leaves(part, (*path, place))]
    return [path]


def changed(value: object, draw: random.Random) -> object:
    """A value with one bit flipped, or of another kind."""
    if isinstance(value, Tensor) and value.numel():
        flat = value.clone().contiguous().reshape(-1).clone()
        data = flat.view(torch.uint8)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        return flat.reshape(value.shape)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value ^ (1 << draw.randrange(16))
    return draw.choice(["x", 3.25, None, [], {}]) if value is not None else 1


@pytest.mark.parametrize("method", METHODS)
def test_whatever_is_changed_in_a_state_is_noticed(method: str) -> None:
    draw = random.Random(0)
    state = taken(linear(method), 3).state_dict()
    fresh = linear(method)
    for path in [path for path in leaves(state) if path[0] != "digest"]:
        broken = copy.deepcopy(state)
        place = broken
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = changed(place[path[-1]], draw)
        if digest_of(place[path[-1]]) == digest_of(_at(state, path)):
            continue  # drawn as it was
        with pytest.raises(ParameterError, match=r"^state: (damaged|of Coresets with other)"):
            fresh.load_state_dict(broken)
    fresh.load_state_dict(state)
    assert fresh.steps_taken == 3


def _at(tree: object, path: tuple) -> object:
    for key in path:
        tree = tree[key]  # type: ignore[index]
    return tree


@pytest.mark.parametrize(
    "state", [None, 5, "state", [], {}, {"settings": 5}, {"settings": {}}, {"method": {}}, {1: 2}]
)
def test_what_is_no_state_is_refused_in_words(state) -> None:
    with pytest.raises(ParameterError, match=r"^state: "):
        linear().load_state_dict(state)


def test_a_state_without_a_part_or_of_another_version_is_refused() -> None:
    state = taken(linear(), 2).state_dict()
    for part in ("rows", "method", "digest"):
        with pytest.raises(ParameterError, match="state: damaged, or of another version"):
            linear().load_state_dict({name: state[name] for name in state if name != part})


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"method": "random"}, "method"),
        ({"crest": {"subset_size": 13}}, "subset_size"),
        ({"steps": 9}, "steps"),
        ({"model": nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, CLASSES))}, "model"),
        ({"model": linear_model().bfloat16()}, "model"),
    ],
)
@pytest.mark.filterwarnings("ignore:model. 100%")
def test_the_state_of_other_methods_models_and_data_is_refused_by_name(options, name) -> None:
    state = taken(linear(), 2).state_dict()
    split = linear_split()
    arguments: dict = {"steps": 8, "batch_size": 4, **SECTIONS, **options}
    model = arguments.pop("model", linear_model())
    dtype = next(model.parameters()).dtype
    other = Coresets(model, lambda i: split.features[i].to(dtype), split.labels, **arguments)
    with pytest.raises(ParameterError, match=f"state: of Coresets with other .*{name}"):
        other.load_state_dict(state)
    fewer = Coresets(linear_model(), split.inputs, split.labels[:40], **arguments)
    with pytest.raises(ParameterError, match=r"state: of Coresets with other .*labels"):
        fewer.load_state_dict(state)


def test_a_state_that_was_refused_leaves_everything_as_it_was() -> None:
    one, other = taken(linear(), 3), taken(linear(), 3)
    broken = one.state_dict()
    broken["method"]["norm"] = 1e9
    with pytest.raises(ParameterError, match="damaged"):
        one.load_state_dict(broken)
    for (indices, weights), (expected, ones) in zip(one, other, strict=True):
        assert torch.equal(indices, expected)
        assert torch.equal(weights, ones)
        one.step()
        other.step()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_copies_and_pickles_are_refused_with_what_to_keep(copied) -> None:
    with pytest.raises(OrderError, match=r"cannot be copied or pickled; keep state_dict\(\)"):
        copied(linear())


def test_the_digest_tells_kinds_and_places_apart() -> None:
    trees = [
        *([1, 2], [2, 1], [[1], 2], [1.0, 2], [True, 2], {"a": 1}, {"b": 1}, {"a": "1"}, {}, []),
        *(torch.zeros(2), torch.zeros(2, 1), torch.zeros(2).int(), torch.zeros(2).bfloat16()),
        *(torch.zeros(0), torch.zeros(3, 0)[:, ::1], torch.tensor(0.0), None, "None", float("nan")),
    ]
    assert len({digest_of(tree) for tree in trees}) == len(trees)
    assert digest_of(torch.arange(6).view(2, 3).T) == digest_of(
        torch.tensor([[0, 3], [1, 4], [2, 5]])
    )


def test_a_call_within_a_call_is_refused() -> None:
    """As by a thread that fetches the next mini-batch, or a function of inputs that goes on."""
    split = image_split()
    calls: list[Coresets] = []

    def inputs(indices: Tensor) -> Tensor:
        for coresets in calls:
            for call in (iter(coresets).__next__, coresets.step):
                with pytest.raises(CrestError, match="called while another call is under way"):
                    call()
        return split.inputs(indices)

    calls.append(Coresets(convnet(), inputs, split.labels, steps=2, batch_size=8, subset_size=32))
    next(iter(calls[0]))
