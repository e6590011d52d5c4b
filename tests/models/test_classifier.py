"""A classifier of any make answers with logits, under its own names."""

from collections import namedtuple
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from crest.errors import ParameterError
from crest.models.classifier import Classifier
from crest.models.head import features_and_logits, last_layer
from tests.tiny import convnet, linear_model


class Answer:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class Keyed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = linear_model()

    def forward(self, features: Tensor) -> Answer:
        return Answer(self.head(features))


def test_a_tensor_and_a_mapping_are_answered_with_logits() -> None:
    features = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    plain, keyed = Classifier(linear_model()), Classifier(Keyed())
    assert torch.equal(plain(features), keyed({"features": features}))
    found = features_and_logits(keyed, {"features": features})
    assert torch.equal(found[0], features)
    assert torch.equal(found[1], plain(features))


def test_parameters_and_name_are_the_networks_own() -> None:
    network = convnet()
    model = Classifier(network)
    assert list(dict(model.named_parameters())) == list(dict(network.named_parameters()))
    pairs = zip(model.parameters(), network.parameters(), strict=True)
    assert all(one is other for one, other in pairs)
    with pytest.raises(ParameterError, match=r"Flatten has no linear layer"):
        last_layer(Classifier(nn.Flatten()))


class Several(nn.Module):
    """Answers with whatever a function makes of features and logits."""

    def __init__(self, answer: Callable[[Tensor, Tensor], object]) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 3), nn.Linear(3, 3)
        self.answer = answer

    def forward(self, inputs: Tensor) -> object:
        features = self.body(inputs).tanh()
        return self.answer(features, self.head(features))


FEATURES = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
Named = namedtuple("Named", ["features", "logits"])


@pytest.mark.parametrize(
    "answer",
    [
        lambda features, logits: (logits,),
        lambda features, logits: [logits, logits],
        lambda features, logits: (logits, features),
        lambda features, logits: (features, logits),
        lambda features, logits: (logits + 1, logits),
        lambda features, logits: (logits, None, torch.zeros(5, 4, 4)),
        lambda features, logits: {"logits": logits, "other": logits + 1},
        lambda features, logits: {"output": logits},
        lambda features, logits: {"features": features, "output": logits},
        Named,
        lambda features, logits: SimpleNamespace(logits=logits),
    ],
)
def test_the_logits_are_found_in_an_answer_of_several_parts(
    answer: Callable[[Tensor, Tensor], object],
) -> None:
    network = Several(answer)
    model = Classifier(network)
    expected = network.head(network.body(FEATURES).tanh())
    for _ in range(2):
        features, logits = features_and_logits(model, FEATURES)
        assert torch.equal(logits, expected)
        assert torch.equal(features, network.body(FEATURES).tanh())
        assert torch.equal(model(FEATURES), expected)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda f, z: (z * 2, z + 1), r"a tuple \(0: \(5, 3\), 1: \(5, 3\)\), and which"),
        (lambda f, z: {"a": {"logits": z}}, "a dict"),
        (lambda f, z: (), "a tuple"),
        (lambda f, z: None, "a NoneType, which is no tensor"),
        (lambda f, z: z[:, :, None], "of shape"),
        (lambda f, z: z.mean(), "of shape"),
        (lambda f, z: z.softmax(1), "answers with probabilities"),
    ],
)
def test_an_answer_without_logits_that_can_be_told_is_refused(
    answer: Callable[[Tensor, Tensor], object], message: str
) -> None:
    model = Classifier(Several(answer))
    with pytest.raises(ParameterError, match=rf"train\.model: Several .*{message}"):
        features_and_logits(model, FEATURES)


def test_two_heads_are_refused_since_no_one_knows_which_is_meant() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
            return self.one(inputs), self.other(inputs)

    with pytest.raises(ParameterError, match="let it return the logits alone"):
        Classifier(Two())(FEATURES)


def test_a_compiled_model_is_run_as_what_it_was_made_of() -> None:
    network = convnet().eval()
    images = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = network(images)
    ran: list[str] = []

    def backend(graph: object, inputs: object) -> object:
        ran.append("compiled")
        raise AssertionError

    outer = torch.compile(network, backend=backend)
    model = Classifier(outer)
    assert model.network is network
    assert torch.equal(model(images), expected)
    inner = nn.Sequential(torch.compile(network, backend=backend))
    assert torch.equal(Classifier(inner)(images), expected)
    network.compile(backend=backend)
    assert torch.equal(Classifier(network)(images), expected)
    assert ran == []


def test_data_parallel_models_are_run_as_what_is_within_and_wait_for_nobody(
    process_group: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = linear_model()
    parallel = DistributedDataParallel(network)
    monkeypatch.setattr(parallel, "forward", lambda *_: pytest.fail("exchanged"))
    backend = "eager"
    for wrapped in (
        parallel,
        torch.compile(parallel, backend=backend),
        nn.DataParallel(torch.compile(network, backend=backend)),
    ):
        model = Classifier(wrapped)
        assert model.network is network
        assert [name for name, _ in model.named_parameters()] == ["weight", "bias"]
        assert torch.equal(model(FEATURES), network(FEATURES))


@pytest.mark.filterwarnings("ignore:FSDP is switching to use .NO_SHARD.:UserWarning")
def test_weights_that_no_process_has_as_a_whole_are_refused(process_group: None) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

    sharded = nn.Sequential(nn.Linear(4, 4), linear_model())
    fully_shard(sharded[0], mesh=init_device_mesh("cpu", (1,)))
    with pytest.raises(ParameterError, match=r"0\.weight is a DTensor.*LossBatchSampler needs no"):
        Classifier(sharded)
    older = nn.Sequential(FullyShardedDataParallel(linear_model(), device_id=torch.device("cpu")))
    with pytest.raises(ParameterError, match="0 is FullyShardedDataParallel: no process has all"):
        Classifier(older)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.LazyLinear(3)), r"0\.weight .* no size yet.* run one batch"),
        (lambda: nn.Sequential(nn.Linear(2, 3, device="meta")), "no values, being on the meta"),
    ],
)
def test_weights_that_are_not_there_yet_are_refused(
    make: Callable[[], nn.Module], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        Classifier(make())


def test_a_lazy_model_that_ran_once_will_do() -> None:
    network = nn.Sequential(nn.LazyLinear(3))
    network(FEATURES)
    assert Classifier(network)(FEATURES).shape == (5, 3)
