"""Tiny random models for the text tasks: built on the spot, offline, the same on every machine.

`build(name, root)` writes the directory that `transformers.pipeline(task, model=…)` takes.
The weights are random but spread, so that a wrong answer shows: two texts differ in every
task, labels have clearly different scores, and generated text neither repeats one token nor
always runs to its limit.
"""

from __future__ import annotations

import functools
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors, trainers
from tokenizers.models import BPE
from tokenizers.normalizers import BertNormalizer
from transformers.models.mbart.tokenization_mbart import FAIRSEQ_LANGUAGE_CODES

from support.models.weights import random_values, scales_norm

SENTENCES = """\
The quick brown fox jumps over the lazy dog near the river bank.
Angela Merkel was born in Hamburg and studied physics in Leipzig.
The United Nations has its headquarters in New York City.
Hugging Face is a company based in New York and Paris.
The capital of France is Paris, and the capital of Germany is Berlin.
My name is Sarah and I live in London with my brother John.
The film was wonderful, but the ending made me sad.
This product is terrible: it broke after two days and nobody answered my letters.
How many people live in the largest city of the country?
Which company has the highest number of employees?
What is the average price of all the books that were sold in 2021?
The bank raised its interest rates by 0.25 percent on Wednesday.
Scientists discovered a new species of frog in the mountains of Peru.
In 1969, Neil Armstrong became the first person to walk on the Moon.
She opened the window because the room was too hot.
Please translate the following text into German and summarize it in one sentence.
The weather will be cold and rainy tomorrow, with strong winds from the north.
I would like to book a table for four people at eight o'clock.
The company's profits fell sharply in the third quarter, its report said.
Our team won the football match 3-1 in front of 45,000 people.
To be, or not to be, that is the question.
Machine learning models need a lot of data and a lot of time.
Der schnelle braune Fuchs springt über den faulen Hund.
Die Hauptstadt von Deutschland ist Berlin, und München liegt in Bayern.
Das Wetter wird morgen kalt und regnerisch sein.
Ich möchte einen Tisch für vier Personen reservieren, bitte.
Wie viele Menschen leben in der größten Stadt des Landes?
Der Film war wunderbar, aber das Ende hat mich traurig gemacht.
Die Wissenschaftler haben eine neue Art von Fröschen entdeckt.
Straßenbahnen fahren nachts nicht, außer an Feiertagen.
Le renard brun rapide saute par-dessus le chien paresseux.
La capitale de la France est Paris, mais Lyon est aussi une grande ville.
Je voudrais réserver une table pour quatre personnes, s'il vous plaît.
Combien de personnes vivent dans la plus grande ville du pays ?
Le film était merveilleux, mais la fin m'a rendu triste.
Les élèves sont allés à l'école après les vacances d'été.
東京は日本の首都です。 今日は天気がいいですね。
北京是中国的首都。 我喜欢学习新的语言。
서울은 한국의 수도입니다.
Great service! 😀 Will come again 👍🎉
Not happy at all 😡 … never again!
""".splitlines()

CHAT_TEMPLATE = """\
{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>
{{ message['content'] }}<|end|>
{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% endif %}"""

VOCABULARY_SIZE = 800


# Vocabularies


def frequent_parts(words: Iterable[str], inner: str, size: int) -> Counter[str]:
    """Count the parts of words, and keep the letters and those that would save most tokens.

    `inner` marks a part that does not begin its word. Counting takes the place of the library's
    trainer, for that of WordPiece gives another vocabulary in every process.
    """
    counts: Counter[str] = Counter()
    letters: set[str] = set()
    for word in words:
        for start in range(len(word)):
            prefix = inner if start else ""
            letters.add(prefix + word[start])
            counts.update(prefix + word[start:end] for end in range(start + 1, len(word) + 1))
    longer = [part for part, times in counts.items() if part not in letters and times > 1]
    longer.sort(key=lambda part: (-counts[part] * len(part), part))
    kept = [*sorted(letters), *longer][:size]
    return Counter({part: counts[part] for part in kept})


@functools.cache
def wordpiece_vocabulary(lowercase: bool) -> dict[str, int]:
    normalizer = BertNormalizer(lowercase=lowercase)
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    words = [word for text in SENTENCES for word, _ in split(normalizer.normalize_str(text))]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[EMPTY]"]
    parts = frequent_parts(words, "##", VOCABULARY_SIZE - len(special))
    return {token: i for i, token in enumerate([*special, *parts])}


@functools.cache
def pieces() -> list[tuple[str, float]]:
    """Pieces with log probabilities, as SentencePiece has them."""
    words = ["▁" + word for text in SENTENCES for word in text.split()]
    parts = frequent_parts(words, "", VOCABULARY_SIZE)
    return [(part, math.log(times / parts.total())) for part, times in parts.items()]


@functools.cache
def byte_pairs(special: tuple[str, ...]) -> dict[str, Any]:
    """Vocabulary and merges over bytes, as GPT-2 and RoBERTa have them."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return {"vocab": model["vocab"], "merges": [tuple(pair) for pair in model["merges"]]}


@functools.cache
def sentencepiece_model() -> bytes:
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        vocab_size=VOCABULARY_SIZE,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


# Tokenizers: each takes a directory for the files that it may need


def bert_tokenizer(_: Path, cls: str = "BertTokenizer", lowercase: bool = True) -> Any:
    return getattr(transformers, cls)(
        vocab=wordpiece_vocabulary(lowercase), do_lower_case=lowercase
    )


def python_tokenizer(directory: Path, cls: str, **options: Any) -> Any:
    """A tokenizer written in Python, without offsets: code takes other paths for those."""
    file = directory / "vocab.txt"
    file.write_text("\n".join(wordpiece_vocabulary(True)) + "\n", encoding="utf-8")
    return getattr(transformers, cls)(str(file), do_lower_case=True, **options)


def gpt2_tokenizer(_: Path, side: str = "left", **special: str) -> Any:
    return transformers.GPT2Tokenizer(
        **byte_pairs(("<|endoftext|>", *special.values())),
        padding_side=side,
        **special,
    )


def roberta_tokenizer(_: Path, **options: Any) -> Any:
    special = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    return transformers.RobertaTokenizer(
        **byte_pairs(special),
        # The mask swallows the space before it, as in the real one.
        mask_token=AddedToken("<mask>", lstrip=True, special=True),
        **options,
    )


def llama_tokenizer(_: Path) -> Any:
    """Like Llama 3: bytes, a generic class, tokens for the chat, whole words before merges."""
    special = ("<|begin|>", "<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>")
    # The decision task wants its answers to be tokens.
    tokenizer = Tokenizer(BPE(**byte_pairs((*special, "Yes", "No")), ignore_merges=True))
    tokenizer.add_special_tokens(list(special))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", pair="<|begin|> $A $B", special_tokens=[("<|begin|>", 0)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|begin|>",
        eos_token="<|end|>",
        pad_token="<|pad|>",
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
    )


def t5_tokenizer(_: Path) -> Any:
    extra = [(f"<extra_id_{i}>", 0.0) for i in reversed(range(10))]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    return transformers.T5Tokenizer(vocab=[*special, *pieces(), *extra], extra_ids=len(extra))


def mbart_tokenizer(_: Path) -> Any:
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    languages = [(code, 0.0) for code in FAIRSEQ_LANGUAGE_CODES]
    return transformers.MBartTokenizer(
        vocab=[*special, *pieces(), *languages, ("<mask>", 0.0)],
        src_lang="en_XX",
        tgt_lang="de_DE",
    )


def marian_tokenizer(directory: Path) -> Any:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model())
    words = [processor.IdToPiece(i) for i in range(processor.GetPieceSize())]
    words = ["</s>", "<unk>", *(w for w in words if w not in {"<s>", "</s>", "<unk>"}), "<pad>"]
    (directory / "source.spm").write_bytes(sentencepiece_model())
    (directory / "target.spm").write_bytes(sentencepiece_model())
    (directory / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    return transformers.MarianTokenizer(
        str(directory / "source.spm"),
        str(directory / "target.spm"),
        str(directory / "vocab.json"),
        source_lang="en",
        target_lang="de",
    )


# Architectures

BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
LONG_BERT = {**BERT, "max_position_embeddings": 128}
# RoBERTa counts positions from two.
ROBERTA = {**BERT, "max_position_embeddings": 130, "type_vocab_size": 1}
DISTILBERT = {
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 64,
    "max_position_embeddings": 64,
}
LONG_DISTILBERT = {**DISTILBERT, "max_position_embeddings": 128}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 64, "n_positions": 128}
LLAMA = {**BERT, "num_key_value_heads": 2, "max_position_embeddings": 128}
T5 = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "task_specific_params": {
        "summarization": {"min_length": 3, "no_repeat_ngram_size": 3, "prefix": "summarize: "},
        "translation_en_to_de": {"max_length": 20, "prefix": "translate English to German: "},
        "translation_en_to_fr": {"max_length": 20, "prefix": "translate English to French: "},
    },
}
BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 128,
}
MBART = {**BART, "decoder_start_token_id": 2}
MARIAN = {**BART, "activation_function": "swish", "scale_embedding": True}
TAPAS = {**BERT, "max_position_embeddings": 128, "type_vocab_sizes": [3, 64, 64, 2, 64, 64, 10]}
AGGREGATION = {
    "num_aggregation_labels": 4,
    "aggregation_labels": {0: "NONE", 1: "SUM", 2: "AVERAGE", 3: "COUNT"},
    "no_aggregation_label_index": 0,
}
NER = ["O", *(f"{position}-{kind}" for kind in ("PER", "LOC", "ORG") for position in "BI")]
NLI = ["entailment", "neutral", "contradiction"]
TOPICS = ["news", "sport", "travel", "science"]


@dataclass(frozen=True)
class Recipe:
    """One model: which Auto class, of which type, read by which tokenizer."""

    auto: str
    model_type: str
    tokenizer: Callable[[Path], Any]
    options: Mapping[str, Any]
    """Of the model's configuration."""
    labels: list[str] | None = None
    generation: Mapping[str, Any] | None = None
    """Options of generation beside the common ones; None where the model does not generate."""
    gains: Mapping[str, float] = field(default_factory=dict)
    """Factors for the parameters whose name contains the key."""
    end: float = 2.0
    """Factor for the output row of the end of text, which is otherwise one of hundreds."""


cased = functools.partial(bert_tokenizer, lowercase=False)
distilbert = functools.partial(bert_tokenizer, cls="DistilBertTokenizer")
# Words of a list of words start with a space, too: what token classification needs.
prefixed = functools.partial(roberta_tokenizer, add_prefix_space=True)
padded = functools.partial(gpt2_tokenizer, side="right", pad_token="<|pad|>")
slow = functools.partial(python_tokenizer, cls="BertJapaneseTokenizer")
tapas = functools.partial(python_tokenizer, cls="TapasTokenizer")
# TAPEX's own tokenizer is gone from transformers 5. This one reads tables too, and a BART takes
# what it says: the path of a generating model through the pipeline is the same.
tapex = functools.partial(
    tapas, eos_token="[SEP]", model_input_names=["input_ids", "attention_mask"]
)

# The sign is this seed's luck: with the other one most answers have no cells.
CELLS = {"output_weights": -10.0, "word_emb": 4.0, "query": 4.0}
# What is generated depends on the source more than on the token before.
SOURCE = {"encoder_attn.out_proj": 3.0, "self_attn.out_proj": 0.25, "lm_head": 0.5}

# For floats: a BART whose attention jumps makes 3e-4 of the noise that padding is.
CALM = {"q_proj": 0.5, "k_proj": 0.5}

SEQUENCES = "SequenceClassification"
RECIPES: dict[str, Recipe] = {
    "bert-classification": Recipe(
        SEQUENCES, "bert", bert_tokenizer, BERT, ["negative", "neutral", "positive"]
    ),
    "distilbert-classification": Recipe(
        SEQUENCES, "distilbert", distilbert, DISTILBERT, ["NEGATIVE", "POSITIVE"]
    ),
    "roberta-classification": Recipe(
        SEQUENCES,
        "roberta",
        roberta_tokenizer,
        {**ROBERTA, "problem_type": "multi_label_classification"},
        TOPICS,
    ),
    "bert-regression": Recipe(
        SEQUENCES, "bert", bert_tokenizer, {**BERT, "problem_type": "regression"}, ["LABEL_0"]
    ),
    "gpt2-classification": Recipe(SEQUENCES, "gpt2", padded, GPT2, TOPICS),
    "bert-nli": Recipe(SEQUENCES, "bert", bert_tokenizer, LONG_BERT, NLI),
    "bart-nli": Recipe(SEQUENCES, "bart", roberta_tokenizer, BART, NLI[::-1], gains=CALM),
    "bert-ner": Recipe("TokenClassification", "bert", cased, BERT, NER),
    "bert-slow-ner": Recipe("TokenClassification", "bert", slow, BERT, NER),
    "roberta-ner": Recipe("TokenClassification", "roberta", prefixed, ROBERTA, NER),
    "bert-mlm": Recipe("MaskedLM", "bert", bert_tokenizer, BERT),
    "roberta-mlm": Recipe("MaskedLM", "roberta", roberta_tokenizer, ROBERTA),
    "gpt2-lm": Recipe(
        "CausalLM", "gpt2", gpt2_tokenizer, GPT2, generation={}, end=1.5, gains={"wpe": 3.0}
    ),
    "llama-lm": Recipe("CausalLM", "llama", llama_tokenizer, LLAMA, generation={}),
    "bert-encoder": Recipe("", "bert", bert_tokenizer, BERT),
    "distilbert-encoder": Recipe("", "distilbert", distilbert, DISTILBERT),
    "gpt2-encoder": Recipe("", "gpt2", gpt2_tokenizer, GPT2),
    "bart-encoder": Recipe("", "bart", roberta_tokenizer, BART, gains=CALM),
    "tapas-qa": Recipe(
        "TableQuestionAnswering", "tapas", tapas, {**TAPAS, **AGGREGATION}, gains=CELLS
    ),
    "tapas-qa-plain": Recipe("TableQuestionAnswering", "tapas", tapas, TAPAS, gains=CELLS),
    "tapex-qa": Recipe("Seq2SeqLM", "bart", tapex, BART, generation={}, gains=SOURCE),
    "bert-qa": Recipe("QuestionAnswering", "bert", bert_tokenizer, LONG_BERT),
    "bert-slow-qa": Recipe("QuestionAnswering", "bert", slow, LONG_BERT),
    "distilbert-qa": Recipe("QuestionAnswering", "distilbert", distilbert, LONG_DISTILBERT),
    "roberta-qa": Recipe("QuestionAnswering", "roberta", roberta_tokenizer, ROBERTA),
    "t5-seq2seq": Recipe(
        "Seq2SeqLM",
        "t5",
        t5_tokenizer,
        T5,
        generation={"no_repeat_ngram_size": 2},
        end=1.8,
        gains={"EncDecAttention.o": 3.0, "decoder.embed_tokens": 0.5},
    ),
    "bart-seq2seq": Recipe(
        "Seq2SeqLM",
        "bart",
        roberta_tokenizer,
        BART,
        generation={"no_repeat_ngram_size": 3},
        gains=SOURCE,
    ),
    "mbart-seq2seq": Recipe(
        "Seq2SeqLM", "mbart", mbart_tokenizer, MBART, generation={}, gains=SOURCE
    ),
    "marian-seq2seq": Recipe(
        "Seq2SeqLM",
        "marian",
        marian_tokenizer,
        MARIAN,
        generation={"no_repeat_ngram_size": 2},
        end=2.3,
        gains={**SOURCE, "lm_head": 1.0, "encoder_attn.q_proj": 6.0},
    ),
}

# Weights


def fill(model: torch.nn.Module, name: str, gains: Mapping[str, float]) -> None:
    """Give every parameter numbers that depend on `name` alone, not on the version of torch."""
    for key, parameter, values in random_values(model, name):
        parameter.data.copy_(values * spread(key, parameter, gains))
        if scales_norm(key, parameter):
            parameter.data.add_(1.0)


# What makes tokens and texts differ gains, what all of them share loses.
GAINS = {
    # embeddings
    "word_emb": 2.0,
    "wte": 2.0,
    "position": 0.5,
    "wpe": 0.5,
    "token_type": 0.2,
    # queries and keys: attention that looks at some tokens more than at others
    "query": 2.0,
    "key": 2.0,
    "q_lin": 2.0,
    "k_lin": 2.0,
    "q_proj": 2.0,
    "k_proj": 2.0,
    "attn.c_attn": 1.5,
    # what attention brings home
    "attention.output.dense": 4.0,
    "out_lin": 2.0,
    "attn.c_proj": 2.0,
    "out_proj": 2.0,
    # the answers that stand out
    "qa_outputs": 2.5,
    # what the activation function has shifted in one direction for all
    "output.dense": 0.5,
    "fc2": 0.5,
    "lin2": 0.5,
    "mlp.c_proj": 0.5,
}


def spread(key: str, parameter: torch.Tensor, gains: Mapping[str, float]) -> float:
    base = 0.1 if parameter.ndim < 2 else 1.5 / math.sqrt(parameter.shape[-1])
    return base * math.prod(gain for part, gain in {**GAINS, **gains}.items() if part in key)


def longest_input(config: Any) -> int:
    positions: int = getattr(config, "max_position_embeddings", 128)  # T5 has no limit
    return positions - 2 if config.model_type == "roberta" else positions


def generation_config(config: Any, options: Mapping[str, Any]) -> Any:
    keys = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
    ids = {key: getattr(config, key, None) for key in keys}
    # Greedy and short: a test has to be quick. Length is given as the real ones of each kind give
    # it, for transformers 4 heeds no other when its pipelines have a default.
    length = {"max_length": 13} if config.is_encoder_decoder else {"max_new_tokens": 12}
    return transformers.GenerationConfig(num_beams=1, do_sample=False, **length, **ids, **options)


def make_readable_by_transformers_4(directory: Path) -> None:
    """Rename what transformers 5 writes in its own way and also reads in the old one."""
    file = directory / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    if isinstance(config.get("extra_special_tokens"), list):
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    if config["tokenizer_class"] == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    file.write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")


def save(name: str, directory: Path) -> None:
    recipe = RECIPES[name]
    tokenizer = recipe.tokenizer(directory)
    options = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    options |= {key: getattr(tokenizer, key) for key in ("bos_token_id", "eos_token_id")}
    if recipe.model_type in {"t5", "marian"}:
        options["decoder_start_token_id"] = tokenizer.pad_token_id
    if recipe.labels is not None:
        options["id2label"] = dict(enumerate(recipe.labels))
        options["label2id"] = {label: i for i, label in enumerate(recipe.labels)}
    options |= recipe.options
    config = transformers.AutoConfig.for_model(recipe.model_type, **options)
    tokenizer.model_max_length = longest_input(config)
    auto = getattr(transformers, f"AutoModelFor{recipe.auto}" if recipe.auto else "AutoModel")
    with torch.random.fork_rng(devices=[]):  # a test's own seed must not notice
        model = auto.from_config(config)
    fill(model, name, recipe.gains)
    if recipe.generation is not None:
        model.generation_config = generation_config(config, recipe.generation)
        model.get_output_embeddings().weight.data[tokenizer.eos_token_id] *= recipe.end
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    make_readable_by_transformers_4(directory)


MODELS: dict[str, Callable[[Path], None]] = {
    name: functools.partial(save, name) for name in RECIPES
}
