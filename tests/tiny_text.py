"""A tiny language model on disk, made without the network: a tokenizer of few words and a BERT."""

from pathlib import Path

WORDS = [
    *("a", "the", "man", "woman", "child", "dog", "cat", "ball", "bike", "is", "are", "was"),
    *("not", "no", "one", "two", "on", "in", "near", "with", "plays", "rides", "sleeps", "runs"),
    *("sits", "eats", "reads", "red", "green", "blue", "big", "small"),
]
POSITIONS = 128
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [mark + letter for letter in "abcdefghijklmnopqrstuvwxyz" for mark in ("", "##")]
VOCABULARY = [*SPECIAL, *LETTERS, ".", ",", *WORDS]


def tiny_tokenizer(folder: Path) -> Path:
    """Write a fast BERT tokenizer; words it does not know it spells."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    numbers = {token: number for number, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(WordPiece(numbers, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, numbers[token]) for token in ("[CLS]", "[SEP]")],
    )
    names = ("pad", "unk", "cls", "sep", "mask")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=POSITIONS,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{f"{name}_token": token for name, token in zip(names, SPECIAL, strict=True)},
    ).save_pretrained(folder)
    return folder


def tiny_model(folder: Path, seed: int = 0, layers: int = 2, units: int = 16) -> Path:
    """Write the tokenizer, and a BERT of 2 layers of 16 units without a classifier."""
    import torch
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=units,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * units,
        max_position_embeddings=POSITIONS,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder)
    return tiny_tokenizer(folder)


def tiny_roberta(folder: Path, texts: list[str]) -> Path:
    """Write a RoBERTa of 2 layers of 16 units, its byte-level tokenizer trained on texts."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizerFast

    trained = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained.train_from_iterator(texts, vocab_size=400, special_tokens=special)
    folder.mkdir(parents=True, exist_ok=True)
    trained.save_model(str(folder))
    tokenizer = RobertaTokenizerFast(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt")
    )
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=130,  # RoBERTa's positions start after the padding's
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        RobertaModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
