"""Texts of the benchmark of tasks: rows of tokens, and the layers of a model that are trained."""

import pytest
import torch
import transformers
from torch.nn import functional as F

from benchmarks.quality import texts
from tests.tiny_text import VOCABULARY, tiny_tokenizer

SENTENCES = ["a man sleeps.", "the dog runs near the child", "two red balls"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(VOCABULARY), hidden_size=16, intermediate_size=16, num_hidden_layers=3,
        num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tiny_tokenizer(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = "[SEP]"
    tokenizer.save_pretrained(folder)
    return folder


def losses_of_the_whole(model, tokens: list[list[int]], kept: list[int]) -> list[float]:
    """Return each row's mean loss of its next tokens among those kept, by the whole model."""
    whole = transformers.AutoModelForCausalLM.from_pretrained(model)
    means = []
    for row in tokens:
        with torch.no_grad():
            logits = whole(torch.tensor([row])).logits[0, :-1, kept]
        following = torch.tensor([kept.index(token) for token in row[1:]])
        means.append(float(F.cross_entropy(logits, following)))
    return means


@pytest.mark.parametrize("packed", [False, True])
def test_rows_and_last_layers_give_the_losses_of_the_whole_model(model, packed) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    tokens = [[tokenizer.eos_token_id, *tokenizer(text)["input_ids"]] for text in SENTENCES]
    length = max(map(len, tokens))
    if packed:
        stream = [token for row in tokens for token in row]
        length = 6
        tokens = [stream[at : at + 6] for at in range(0, len(stream) - 5, 6)]
    rows = texts.token_rows(SENTENCES, model, 2, length, packed)
    with torch.no_grad():
        outputs = rows.tail(rows.hidden)
    expected = losses_of_the_whole(
        model, tokens, sorted({token for row in tokens for token in row})
    )
    found = texts.next_token(outputs, rows.following)
    assert found.tolist() == pytest.approx(expected, abs=2e-3)
    counts = torch.tensor([float(len(row) - 1) for row in tokens])
    mean = float((torch.tensor(expected) * counts).sum() / counts.sum())
    assert float(texts.mean_over_tokens(outputs, rows.following)) == pytest.approx(mean, abs=2e-3)


def test_a_copy_of_the_last_layers_is_trained_alone_and_its_output_layer_is_not(model) -> None:
    rows = texts.token_rows(SENTENCES, model, 1, 9, packed=False)
    before = {name: value.clone() for name, value in rows.tail.state_dict().items()}
    copied = rows.tail.copied()
    optimizer = torch.optim.SGD(copied.parameters(), 1.0)
    texts.mean_over_tokens(copied(rows.hidden), rows.following).backward()
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in rows.tail.state_dict().items())
    changed = {
        name for name, value in copied.state_dict().items() if not torch.equal(value, before[name])
    }
    assert "output" not in changed
    assert any("self_attn" in name for name in changed)


def test_in_training_rows_are_as_long_as_the_longest(model) -> None:
    rows = texts.token_rows(SENTENCES, model, 1, 40, packed=False)
    longest = int((rows.hidden != 0).any(2).sum(1).max())
    assert longest < 40
    assert rows.tail(rows.hidden).shape[1] == longest
    assert rows.tail.eval()(rows.hidden).shape[1] == 40
