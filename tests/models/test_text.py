"""Sequence classifiers of transformers, on a tiny BERT made on the spot."""

import json
import logging
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from crest.data.files import SCHEMA_VERSIONS, TextMeta
from crest.data.ragged import TextSplit
from crest.data.vocabulary import load_tokenizer, vocabulary_hash
from crest.errors import ArtifactError, ParameterError
from crest.methods.adaptive import AdaptiveParameters
from crest.models import spec_for, weights
from crest.models.head import features_and_logits, last_layer
from crest.models.text import TextClassifier, TextModelSpec
from crest.parameters.sections import TrainParameters
from crest.samplers.label_quality import LabelQuality
from tests.tiny import context, image_meta
from tests.tiny_text import VOCABULARY, tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("bert"))


def meta(folder, **changes):
    values = {
        "schema_version": SCHEMA_VERSIONS["text"],
        "kind": "text",
        "dataset": "made",
        "source": "tests",
        "sizes": {"train": 6, "test": 3},
        "classes": ["no", "maybe", "yes"],
        "text_columns": ["text"],
        "tokenizer": str(folder),
        "vocabulary_size": len(VOCABULARY),
        "vocabulary_hash": vocabulary_hash(load_tokenizer(str(folder))),
        "pad_token_id": 0,
        "token_types": True,
        "max_length": 16,
        "lengths": {},
        "truncated": {},
        "dropped": {},
        "content_hash": "0" * 64,
    }
    return TextMeta(**(values | changes))


def spec(folder, **changes) -> TextModelSpec:
    found = spec_for(TrainParameters(model=str(folder)), meta(folder, **changes))
    assert isinstance(found, TextModelSpec)
    return found


def inputs():
    ids = torch.tensor([[2, 10, 11, 3], [2, 12, 3, 0]])
    return {
        "input_ids": ids,
        "attention_mask": (ids != 0).long(),
        "token_type_ids": torch.zeros_like(ids),
    }


def test_the_body_is_pretrained_and_the_head_fresh(folder):
    state = spec(folder).fresh(seed=0).state_dict()
    checkpoint = load_file(folder / "model.safetensors")
    for name, value in checkpoint.items():
        assert torch.equal(state[f"network.bert.{name}"], value), name
    assert state["network.classifier.weight"].shape == (3, 16)


def test_the_seed_draws_the_head_and_nothing_else(folder):
    one, same, other = (spec(folder).fresh(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    differ = {name for name in one if not torch.equal(one[name], other[name])}
    assert differ == {"network.classifier.weight"}


def test_the_global_generator_is_left_alone(folder):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    spec(folder).fresh(seed=0)
    spec(folder).empty()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_head_in_the_checkpoint_is_not_used(folder, tmp_path):
    """A fine-tuned checkpoint, of as many classes or of more, gives its body only."""
    from transformers import BertConfig, BertForSequenceClassification

    fresh = spec(folder).fresh(seed=3).state_dict()
    for classes in (3, 7):
        tuned = shutil.copytree(folder, tmp_path / str(classes))
        config = BertConfig.from_pretrained(folder, num_labels=classes)
        BertForSequenceClassification.from_pretrained(folder, config=config).save_pretrained(tuned)
        state = spec(tuned).fresh(seed=3).state_dict()
        assert all(torch.equal(state[name], fresh[name]) for name in fresh)


def test_nothing_is_reported_of_a_head_that_is_meant_to_be_new(folder, capfd, caplog):
    with caplog.at_level(logging.WARNING):
        spec(folder).fresh(seed=0)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_logits_are_those_of_transformers(folder):
    model = spec(folder).fresh(seed=0).eval()
    expected = model.network(**inputs()).logits
    features, logits = features_and_logits(model, inputs())
    assert torch.equal(logits, expected)
    torch.testing.assert_close(last_layer(model)(features), logits)


def test_a_model_without_token_types_is_given_none(tmp_path):
    from transformers import DistilBertConfig, DistilBertModel

    from tests.tiny_text import tiny_tokenizer

    config = DistilBertConfig(vocab_size=len(VOCABULARY), dim=16, n_layers=1, n_heads=2)
    DistilBertModel(config).save_pretrained(tmp_path)
    model = spec(tiny_tokenizer(tmp_path)).fresh(seed=0)
    assert model(inputs()).shape == (2, 3)


def test_a_file_holds_all_it_takes_to_load_it(folder, tmp_path):
    """The pretrained weights may be gone: the file has the architecture and every weight."""
    gone = shutil.copytree(folder, tmp_path / "gone")
    described = spec(gone)
    model = described.fresh(seed=0)
    path = tmp_path / "model.safetensors"
    weights.save(model, described, path)
    shutil.rmtree(gone)
    loaded, found = weights.load_model(path)
    assert found == described
    state = loaded.state_dict()
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    with torch.no_grad():
        assert torch.equal(loaded.eval()(inputs()), model.eval()(inputs()))


@pytest.mark.parametrize("config", ["{}", "[]", "nonsense", '{"model_type": 3}'])
def test_a_file_with_a_damaged_description_is_refused(folder, tmp_path, config):
    described = spec(folder)
    path = tmp_path / "model.safetensors"
    metadata = {"schema_version": "1", **described.metadata(), "config": config}
    save_file(described.empty().state_dict(), path, metadata=metadata)
    with pytest.raises(ArtifactError, match="its description of the model makes no sense"):
        weights.load_model(path)


def test_misfits_are_told(folder):
    described = spec(folder)
    assert described.misfit(meta(folder)) is None
    assert "3 classes" in str(described.misfit(meta(folder, classes=["a", "b"])))
    assert "another vocabulary" in str(described.misfit(meta(folder, vocabulary_hash="1")))
    assert "are images" in str(described.misfit(image_meta()))


def failure(folder, **changes) -> str:
    with pytest.raises(ParameterError) as caught:
        spec(folder, **changes).fresh(seed=0)
    return str(caught.value)


def test_an_unknown_model_is_told_with_what_to_do(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("crest.files.hub._answers", lambda name: False)
    messages = {
        str(tmp_path / "nowhere"): "no such folder; correct it",
        str(tmp_path): "a folder with config.json and model.safetensors",
        "nobody/nothing-at-all": "a folder with config.json and model.safetensors",
    }
    for name, what in messages.items():
        with pytest.raises(ParameterError, match=rf"^train\.model: {name}.*{what}") as caught:
            spec_for(TrainParameters(model=name), meta(folder))
        assert "\n" not in str(caught.value)


def test_weights_that_are_not_safetensors_are_refused(folder, tmp_path):
    pickled = shutil.copytree(folder, tmp_path / "pickled")
    state = load_file(pickled / "model.safetensors")
    (pickled / "model.safetensors").unlink()
    torch.save(state, pickled / "pytorch_model.bin")
    assert "model.safetensors" in failure(pickled)


def test_a_checkpoint_that_lacks_weights_is_refused(folder, tmp_path):
    partial = shutil.copytree(folder, tmp_path / "partial")
    state = load_file(partial / "model.safetensors")
    kept = {name: value for name, value in state.items() if "layer.1" not in name}
    save_file(kept, partial / "model.safetensors", metadata={"format": "pt"})
    assert "lacks 16 pretrained weights, such as bert.encoder.layer.1" in failure(partial)


def test_a_model_with_code_of_its_own_is_refused(folder, tmp_path):
    remote = shutil.copytree(folder, tmp_path / "remote")
    config = json.loads((remote / "config.json").read_text())
    config["model_type"] = "made_up"
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    (remote / "config.json").write_text(json.dumps(config))
    (remote / "evil.py").write_text("raise SystemExit('ran')")
    assert "cannot be loaded" in failure(remote)


def test_a_kind_of_model_that_classifies_nothing_is_refused(folder, tmp_path):
    vision = shutil.copytree(folder, tmp_path / "vision")
    (vision / "config.json").write_text(json.dumps({"model_type": "vit"}))
    assert "no sequence classification for 'vit'" in failure(vision)


def test_text_that_is_too_long_for_the_model_is_told_before_training(folder):
    assert "prepare.max_length" in failure(folder, max_length=129)


def test_another_vocabulary_is_refused(folder, tmp_path):
    assert "knows 91 tokens" in failure(folder, vocabulary_size=92)
    assert "another vocabulary" in failure(folder, tokenizer="other", vocabulary_hash="0")


def of_decoder(folder, kind: str, **changes):
    """Write a tiny decoder, without padding of its own, and the tokenizer."""
    import transformers

    from tests.tiny_text import tiny_tokenizer

    names = {"gpt2": "GPT2", "llama": "Llama", "qwen2": "Qwen2", "mistral": "Mistral"}
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2}
    if kind != "gpt2":
        sizes = {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
        }
    config = getattr(transformers, f"{names[kind]}Config")
    model = getattr(transformers, f"{names[kind]}Model")
    settings = {"vocab_size": len(VOCABULARY), "bos_token_id": 2, "eos_token_id": 3, **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model(config(**sizes, **settings)).save_pretrained(folder)
    return tiny_tokenizer(folder)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2", "mistral"])
def test_a_decoder_classifies_at_the_last_token_that_is_no_padding(tmp_path, kind):
    """As each text does alone, without any padding; the last layer's gradient follows."""
    described = spec(of_decoder(tmp_path, kind))
    model = described.fresh(seed=0).eval()
    batch = inputs()
    features, logits = features_and_logits(model, batch)
    for row, length in enumerate((4, 3)):
        alone = {name: value[row : row + 1, :length] for name, value in batch.items()}
        torch.testing.assert_close(logits[row : row + 1], model(alone))
    torch.testing.assert_close(features @ last_layer(model).weight.T, logits)
    loaded = described.empty()
    loaded.load_state_dict(model.state_dict())
    torch.testing.assert_close(loaded.eval()(batch), logits)


def test_padding_that_a_decoder_names_otherwise_than_its_tokenizer_is_the_tokenizers(tmp_path):
    model = spec(of_decoder(tmp_path, "llama", pad_token_id=7)).fresh(seed=0).eval()
    batch = inputs()
    alone = {name: value[1:, :3] for name, value in batch.items()}
    torch.testing.assert_close(model(batch)[1:], model(alone))


def test_a_tokenizer_without_padding_pads_with_the_end_of_a_text(tmp_path):
    from tests.tiny_text import tiny_tokenizer

    tiny_tokenizer(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings.pop("pad_token")
    path.write_text(json.dumps(settings | {"eos_token": "[SEP]"}))
    assert load_tokenizer(str(tmp_path)).pad_token_id == 3
    settings.pop("eos_token", None)
    path.write_text(json.dumps(settings))
    with pytest.raises(ParameterError, match="no padding token, nor one for the end"):
        load_tokenizer(str(tmp_path))


def test_a_model_that_reads_at_the_end_of_a_text_is_tried_with_one(tmp_path):
    from transformers import BartConfig, BartModel

    from tests.tiny_text import tiny_tokenizer

    sizes = {f"{part}_{name}": 1 for part in ("encoder", "decoder") for name in ("layers",)}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = BartConfig(
        vocab_size=len(VOCABULARY), d_model=16, **sizes, **heads, eos_token_id=3, pad_token_id=0
    )
    BartModel(config).save_pretrained(tmp_path)
    model = spec(tiny_tokenizer(tmp_path)).fresh(seed=0)
    assert model(inputs()).shape == (2, 3)
    without = {name: value[:, :2] for name, value in inputs().items()}
    with pytest.raises(ParameterError, match=r"at the token of a text's end.*prepare\.tokenizer"):
        model(without)


def described_otherwise(folder, place, **changes):
    other = shutil.copytree(folder, place)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | changes))
    return other


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_act": "nope"}, "cannot be built as its config.json says, a 'bert' (KeyError"),
        ({"num_attention_heads": 0}, "cannot be built as its config.json says"),
        ({"num_attention_heads": 3}, "not a multiple of the number of attention heads"),
        ({"hidden_size": -16}, "cannot be built as its config.json says"),
        ({"hidden_size": "wide"}, "cannot be loaded"),
        ({"hidden_size": 17}, "cannot be built as its config.json says"),
        ({"hidden_size": 24}, "weights of other shapes than its config.json says"),
        ({"vocab_size": 10**9, "hidden_size": 4096}, "TB for its weights alone"),
        ({"hidden_size": 10**9}, "for its weights alone"),
        ({"num_hidden_layers": 10**9}, "says num_hidden_layers: 1e+09"),
        ({"num_hidden_layers": -1}, "says num_hidden_layers: -1"),
        ({"num_hidden_layers": 1}, "holds 16 weights of layers that its config.json does not"),
        ({"num_hidden_layers": 3}, "lacks 16 pretrained weights"),
        ({"num_labels": 10**9}, "says num_labels: 1e+09"),
        ({"max_position_embeddings": 10**12}, "says max_position_embeddings: 1e+12"),
        ({"layer_norm_eps": float("inf")}, "says layer_norm_eps: inf"),
        ({"quantization_config": {"quant_method": "gptq"}}, "is quantised"),
        ({"transformers_weights": "../model.safetensors"}, "would lead out of the folder"),
        ({"text_config": {"a": 1}}, ""),
    ],
)
def test_odd_descriptions_end_in_messages_and_take_no_memory(folder, tmp_path, changes, message):
    place = described_otherwise(folder, tmp_path / "odd", **changes)
    if not message:
        spec(place).fresh(seed=0)
        return
    with pytest.raises(ParameterError) as caught:
        spec_for(TrainParameters(model=str(place)), meta(folder)).fresh(seed=0)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_of_another_shape_or_that_are_no_numbers_are_refused(folder, tmp_path):
    name = "encoder.layer.0.output.dense.weight"
    for number, (change, message) in enumerate(
        [
            (
                lambda value: value[:3].clone(),
                f"1 pretrained weights of other shapes .* bert.{name}",
            ),
            (lambda value: value * torch.nan, f"its weight bert.{name} is not all finite numbers"),
            (lambda value: value.to(torch.int8), f"no floating-point numbers .*{name}"),
        ]
    ):
        other = shutil.copytree(folder, tmp_path / str(number))
        state = load_file(other / "model.safetensors")
        state[name] = change(state[name])
        save_file(state, other / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ParameterError, match=message):
            spec(other).fresh(seed=0)


def test_xlnet_reads_the_last_token_and_not_the_padding(tmp_path):
    from transformers import XLNetConfig, XLNetModel

    from tests.tiny_text import tiny_tokenizer

    config = XLNetConfig(
        vocab_size=len(VOCABULARY), d_model=16, n_layer=1, n_head=2, d_inner=32, pad_token_id=0
    )
    XLNetModel(config).save_pretrained(tmp_path)
    model = spec(tiny_tokenizer(tmp_path)).fresh(seed=0).eval()
    batch = inputs()
    alone = {name: value[1:, :3] for name, value in batch.items()}
    torch.testing.assert_close(model(batch)[1:], model(alone))


def test_one_type_of_tokens_for_two_texts_is_refused_before_training(folder, tmp_path):
    place = described_otherwise(folder, tmp_path / "one", type_vocab_size=1)
    with pytest.raises(ParameterError, match=r"knows one type of tokens.*prepare\.tokenizer"):
        spec(place, text_columns=["premise", "hypothesis"])
    spec(place)


def pairs() -> tuple[dict[str, torch.Tensor], list[list[list[int]]]]:
    """Three pairs as the tokenizer writes them, and the tokens of either text by itself."""
    texts = [[[10, 11], [12]], [[13], [10, 14, 15, 16]], [[17, 18, 19], [20, 21]]]
    alone = [[[2, *text, 3] for text in both] for both in texts]
    rows = [[2, *first, 3, *second, 3] for first, second in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    kinds = torch.zeros_like(ids)
    for row, (first, second) in enumerate(texts):
        kinds[row, len(first) + 2 : len(first) + len(second) + 3] = 1
    given = {"input_ids": ids, "attention_mask": (ids != 0).long(), "token_type_ids": kinds}
    return given, alone


def mean_state(model, tokens: list[int]) -> torch.Tensor:
    """The mean of the body's last hidden states of one text, which nothing is padded to."""
    return model.network.base_model(torch.tensor([tokens])).last_hidden_state[0].mean(0)


def test_a_text_is_embedded_as_the_mean_of_its_tokens(folder):
    model = spec(folder).fresh(seed=0).eval()
    with torch.no_grad():
        found = model.sentence_embeddings(inputs())
        expected = [mean_state(model, tokens) for tokens in ([2, 10, 11, 3], [2, 12, 3])]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-5, atol=1e-6)


def test_texts_of_a_pair_are_embedded_each_by_itself(folder):
    model = spec(folder, text_columns=["one", "two"]).fresh(seed=0).eval()
    given, alone = pairs()
    with torch.no_grad():
        found = model.sentence_embeddings(given)
        expected = []
        for both in alone:
            u, v = (mean_state(model, tokens) for tokens in both)
            expected.append(torch.cat([u, v, (u - v).abs(), u * v]))
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-5, atol=1e-6)


def test_a_network_of_no_states_a_token_is_embedded_by_its_last_layers_inputs(folder):
    model = spec(folder).fresh(seed=0).eval()
    plain = model.network.forward

    def forward(output_hidden_states=None, **given):
        return plain(**given)

    with torch.no_grad():
        expected, _ = features_and_logits(model, inputs())
        model.network.forward = forward
        assert model.sentence_embeddings(inputs()).equal(expected)


@pytest.mark.parametrize("name", ["Bart", "GPT2"])
def test_decoders_are_embedded_by_their_own_states(name):
    import transformers

    small = {
        "Bart": {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "eos_token_id": 3}
        | {"encoder_attention_heads": 2, "decoder_attention_heads": 2},
        "GPT2": {"n_embd": 8, "n_layer": 1, "n_head": 2},
    }[name]
    config = getattr(transformers, f"{name}Config")(
        vocab_size=30, pad_token_id=0, max_position_embeddings=32, num_labels=3, **small
    )
    network = getattr(transformers, f"{name}ForSequenceClassification")(config).eval()
    model = TextClassifier(network)
    given = {name: inputs()[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        states = network.base_model(**given).last_hidden_state
        found = model.sentence_embeddings(given)
    expected = [states[0].mean(0), states[1, :3].mean(0)]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-5, atol=1e-6)


def test_wrong_labels_of_pairs_are_found_before_the_first_step(folder):
    """The class is whether both texts are the same word, which neither of them tells."""
    generator = torch.Generator().manual_seed(0)
    count = 1500
    first, other = torch.randint(10, 40, (2, count), generator=generator)
    true = (torch.arange(count) % 2).logical_or(first == other).long()
    labels = true.clone()
    wrong = torch.randperm(count, generator=generator)[: count // 5]
    labels[wrong] = 1 - labels[wrong]
    second = torch.where(true == 1, first, other)
    begins, ends = torch.full((count,), 2), torch.full((count,), 3)
    tokens = torch.stack([begins, first, ends, second, ends], 1).int()
    offsets, starts = 5 * torch.arange(count + 1), torch.full((count,), 3).int()
    split = TextSplit(
        tokens.flatten(), offsets, starts, labels, 0, True, torch.device("cpu"), lambda _: None
    )
    given = replace(
        context(steps=100),
        train=split,
        model=spec(folder, classes=["no", "yes"]).fresh(seed=0),
        batch_size=32,
        parameters=AdaptiveParameters(),
        pretrained=True,
    )
    quality = LabelQuality(given, "adaptive.label_noise", wanted=True)
    is_wrong = labels != true
    assert quality.values is not None
    assert quality.values[is_wrong].mean() < 0.2 < 0.9 < quality.values[~is_wrong].mean()
    assert quality.scored == count
    believed = LabelQuality(replace(given, pretrained=False), "adaptive.label_noise", wanted=True)
    assert believed.values is None
