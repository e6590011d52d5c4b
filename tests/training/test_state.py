"""The saved state: whole or refused, and of the same run or refused."""

import errno
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from crest.errors import ArtifactError
from crest.training.state import (
    Checkpoint,
    load_optimizer_state,
    optimizer_state,
    read_state,
    write_state,
)

KEY = {"train.lr": "0.1", "data": "abc"}
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)


@settings(max_examples=50, deadline=None)
@given(tree=st.dictionaries(st.text(), TREES))
def test_any_tree_comes_back(tmp_path_factory: pytest.TempPathFactory, tree: dict) -> None:
    path = tmp_path_factory.mktemp("state") / "state"
    write_state(path, KEY, tree)
    assert read_state(path, KEY) == tree


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(3),
        torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        torch.tensor(2.5),
        torch.empty(0, dtype=torch.int64),
        torch.tensor([True, False]),
        torch.tensor([1.5], dtype=torch.bfloat16),
        torch.Generator().get_state(),
    ],
)
def test_tensors_come_back_bit_for_bit(tmp_path: Path, tensor: torch.Tensor) -> None:
    write_state(tmp_path / "state", KEY, {"a": [tensor], "end": tensor})
    found = read_state(tmp_path / "state", KEY)
    for value in (found["a"][0], found["end"]):
        assert value.dtype == tensor.dtype
        assert torch.equal(value, tensor)


def test_a_state_may_hold_any_text(tmp_path: Path) -> None:
    text = "".join(map(chr, [*range(256), 0x2028, 0xFFFD, 0x1F600])) + '"\\'
    write_state(tmp_path / "state", {**KEY, text: text}, {text: text})
    assert read_state(tmp_path / "state", {**KEY, text: text}) == {text: text}


def test_tensors_that_share_memory_come_back_too(tmp_path: Path) -> None:
    whole = torch.arange(12)
    state = {"whole": whole, "tail": whole[7:], "head": whole[:5], "again": whole, "other": [whole]}
    write_state(tmp_path / "state", KEY, state)
    found = read_state(tmp_path / "state", KEY)
    for name in ("whole", "tail", "head", "again"):
        assert torch.equal(found[name], state[name])
    assert torch.equal(found["other"][0], whole)


def test_a_state_is_written_without_a_copy_of_it(tmp_path: Path, monkeypatch) -> None:
    large = torch.zeros(1000)
    written = {}
    save = save_file

    def remember(tensors: dict, path: Path, metadata: dict) -> None:
        written.update(tensors)
        save(tensors, path, metadata=metadata)

    monkeypatch.setattr("safetensors.torch.save_file", remember)
    write_state(tmp_path / "state", KEY, {"large": large, "tail": large[900:]})
    assert written["0"].data_ptr() == large.data_ptr()
    assert written["1"].untyped_storage().nbytes() == 400


def test_a_state_of_another_run_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    write_state(tmp_path / "state", KEY, {})
    with pytest.raises(ArtifactError, match=r"unfinished run with other train\.lr; .*--fresh"):
        read_state(tmp_path / "state", {**KEY, "train.lr": "0.2"})
    with pytest.raises(ArtifactError, match="other seed"):
        read_state(tmp_path / "state", {**KEY, "seed": "1"})


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_state(path, KEY, {"a": torch.rand(100)})
    whole = path.read_bytes()
    for broken in (b"", whole[:40], whole[:-50], b"nonsense" * 20):
        path.write_bytes(broken)
        with pytest.raises(ArtifactError, match=r"damaged .*--fresh"):
            read_state(path, KEY)


def test_no_bit_of_a_state_changes_unnoticed(tmp_path: Path) -> None:
    """Neither of its numbers nor of its head, whose length is in the first eight bytes."""
    path = tmp_path / "state"
    write_state(path, KEY, {"a": torch.rand(50), "steps": 3, "b": ["text", None, True]})
    whole = path.read_bytes()
    for bit in [*range(64), *range(64, 8 * len(whole), 61)]:
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match=r"damaged .*--fresh"):
            read_state(path, KEY)


def test_a_state_of_another_processor_is_refused_and_both_are_named(tmp_path: Path) -> None:
    write_state(tmp_path / "state", {**KEY, "processor": "EPYC, AVX512"}, {"a": 1})
    here = {**KEY, "processor": "EPYC, AVX2"}
    with pytest.raises(ArtifactError, match=r"\(EPYC, AVX512 then, EPYC, AVX2 now\); set back"):
        read_state(tmp_path / "state", here)


def test_a_message_names_the_command_whose_run_it_is(tmp_path: Path) -> None:
    for command in ("train", "reuse"):
        path = tmp_path / f"{command}-crest.safetensors"
        path.write_text("nonsense")
        with pytest.raises(ArtifactError, match=f"run `python cli.py {command} --fresh` or rem"):
            read_state(path, KEY)


def test_a_state_without_a_checksum_is_not_taken(tmp_path: Path) -> None:
    metadata = {"key": json.dumps(KEY), "tree": '{"dict": {}}'}
    save_file({"end": torch.zeros(1)}, tmp_path / "state", metadata=metadata)
    with pytest.raises(ArtifactError, match=r"damaged \(it has no checksum\)"):
        read_state(tmp_path / "state", KEY)
    with pytest.raises(ArtifactError, match=r"of an unfinished run with other train\.lr"):
        read_state(tmp_path / "state", {**KEY, "train.lr": "0.2"})


def test_a_state_that_may_not_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch) -> None:
    write_state(tmp_path / "state", KEY, {})

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ArtifactError, match="cannot be read: Permission denied; make it readable"):
        read_state(tmp_path / "state", KEY)


def test_what_a_killed_run_left_beside_its_state_is_swept_away(tmp_path: Path) -> None:
    """By the run that goes on, and by one that ends without ever having saved a state."""
    checkpoint = Checkpoint(tmp_path / "state", KEY, interval=10.0)
    for end in (checkpoint.restore, checkpoint.remove):
        (tmp_path / ".state.abcdefg1.partial").mkdir()
        (tmp_path / ".state.abcdefg1.partial" / ".tmpAbCdEf").write_text("half")
        (tmp_path / ".state.lock").touch()
        end()
        assert list(tmp_path.iterdir()) == []


def test_a_file_of_anothers_among_the_snapshots_stays(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "state", KEY, interval=10.0)
    checkpoint.snapshots.mkdir()
    for name in ("step_3.safetensors", "notes"):
        (checkpoint.snapshots / name).touch()
    (checkpoint.snapshots / ".step_3.safetensors.abcdefg1.partial").mkdir()
    checkpoint.remove()
    assert [path.name for path in checkpoint.snapshots.iterdir()] == ["notes"]
    (checkpoint.snapshots / "notes").unlink()
    checkpoint.remove()
    assert list(tmp_path.iterdir()) == []


def test_saves_come_at_their_interval_and_cost_at_most_a_percent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("crest.training.state.time.monotonic", lambda: now[0])
    checkpoint = Checkpoint(tmp_path / "state", KEY, interval=10.0)
    assert not checkpoint.due()
    now[0] = 10.0
    assert checkpoint.due()

    def slow(*_: object) -> None:
        now[0] += 0.5

    monkeypatch.setattr("crest.training.state.write_state", slow)
    checkpoint.save({})
    now[0] += 49.0
    assert not checkpoint.due()
    now[0] += 1.0
    assert checkpoint.due()
    assert checkpoint.seconds == 0.5


def test_no_state_is_no_state(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "state", KEY, interval=10.0)
    assert checkpoint.restore() is None
    checkpoint.save({"step": 3})
    assert checkpoint.restore() == {"step": 3}
    checkpoint.snapshots.mkdir()
    (checkpoint.snapshots / "step_1.safetensors").touch()
    checkpoint.remove()
    assert checkpoint.restore() is None
    assert list(tmp_path.iterdir()) == []
    checkpoint.remove()


def test_the_code_is_asked_for_when_there_is_a_state_to_write_or_read(tmp_path: Path) -> None:
    asked = []

    def code() -> dict[str, str]:
        asked.append(True)
        return {"code": "{}"}

    checkpoint = Checkpoint(tmp_path / "state", KEY, interval=10.0, code=code)
    assert checkpoint.restore() is None
    checkpoint.remove()
    assert not asked
    checkpoint.save({})
    assert checkpoint.restore() == {}
    assert len(asked) == 1
    assert read_state(checkpoint.path, {**KEY, "code": "{}"}) == {}


@pytest.mark.parametrize(
    ("then", "now", "told"),
    [
        ({"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"}, r"code \(b, c, d\); set"),
        ({}, {name: "1" for name in "abcde"}, r"code \(a, b, c and 2 more\); set"),
        ("0f3a", {"a": "1"}, "code; set"),
        (None, {"a": "1"}, "code; set"),
    ],
)
def test_a_state_of_other_code_is_refused_with_what_changed(
    tmp_path: Path, then, now, told
) -> None:
    """As states were once saved, too: under one hash, or none."""
    of = {} if then is None else {"code": then if isinstance(then, str) else json.dumps(then)}
    write_state(tmp_path / "state", {**KEY, **of}, {})
    with pytest.raises(ArtifactError, match=f"an unfinished run with other {told} back what"):
        read_state(tmp_path / "state", {**KEY, "code": json.dumps(now)})


def test_sums_of_restored_tensors_are_rounded_the_same(tmp_path: Path) -> None:
    """A tensor that starts at another address modulo 64 is summed in another order."""
    generator = torch.Generator().manual_seed(0)
    values = {str(size): torch.randn(size, generator=generator) for size in range(1001, 1040)}
    write_state(tmp_path / "state", KEY, values)
    for name, value in read_state(tmp_path / "state", KEY).items():
        assert value.data_ptr() % 64 == 0
        assert torch.dot(value, value) == torch.dot(values[name], values[name])


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_an_optimizer_goes_on_exactly(tmp_path: Path, kind: str) -> None:
    def optimizer(weight: torch.Tensor) -> torch.optim.Optimizer:
        if kind == "sgd":
            return torch.optim.SGD([weight], lr=0.1, momentum=0.9)
        return torch.optim.AdamW([weight], lr=0.1)

    def steps(weight: torch.Tensor, moved: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            moved.zero_grad()
            (weight**4).sum().backward()
            moved.step()

    start = torch.linspace(-1, 1, 12).view(1, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    weight = start.clone().requires_grad_()
    whole = optimizer(weight)
    steps(weight, whole, 3)
    write_state(tmp_path / "state", KEY, {"o": optimizer_state(whole), "w": weight})
    state = read_state(tmp_path / "state", KEY)
    steps(weight, whole, 4)

    again = torch.empty_like(start).copy_(state["w"]).requires_grad_()
    restored = optimizer(again)
    load_optimizer_state(restored, state["o"])
    steps(again, restored, 4)
    assert torch.equal(weight, again)
