"""The tiny models: they build, always the same, and answer different inputs differently."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from support.models import MODELS, build, diffusion
from support.models.text import RECIPES
from support.texts import CORPUS

TASKS = {
    "classification": "text-classification",
    "regression": "text-classification",
    "nli": "zero-shot-classification",
    "ner": "token-classification",
    "mlm": "fill-mask",
    "lm": "text-generation",
    "encoder": "feature-extraction",
}
TABLE = {
    "City": ["Berlin", "Paris", "London"],
    "People": ["3.6", "2.1", "8.8"],
    "Country": ["Germany", "France", "United Kingdom"],
}
TABLE_QA = ["tapas-qa", "tapas-qa-plain", "tapex-qa"]
QA = [name for name in RECIPES if name.endswith("-qa") and name not in TABLE_QA]
SEQ2SEQ = [name for name in RECIPES if name.endswith("-seq2seq")]
STOCK = {name: TASKS[kind] for name in RECIPES if (kind := name.rpartition("-")[2]) in TASKS}
TEXTS = [CORPUS[5], CORPUS[20]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def built(name: str, root: Path) -> str:
    if name == "marian-seq2seq":
        pytest.importorskip("sentencepiece")
        pytest.importorskip("sacremoses")  # without it the tokenizer warns
    return str(build(name, root))


def files(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def test_every_text_model_has_a_test() -> None:
    assert set(RECIPES) == {*STOCK, *TABLE_QA, *QA, *SEQ2SEQ}


@pytest.mark.parametrize("name", [name for name in MODELS if name not in diffusion.MODELS])
def test_build_is_deterministic_and_small(name: str, root: Path, tmp_path: Path) -> None:
    first = files(Path(built(name, root)))
    assert first == files(build(name, tmp_path))
    assert sum(map(len, first.values())) < 1_000_000
    assert "model.safetensors" in first


def test_weights_and_vocabulary_are_the_same_everywhere(root: Path) -> None:
    directory = built("bert-classification", root)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(directory)
    vocabulary = transformers.AutoTokenizer.from_pretrained(directory).get_vocab()
    # The classifier is filled last, so its numbers follow from those of all others.
    assert zlib.crc32(model.classifier.weight.detach().numpy().tobytes()) == 681885512
    assert (
        zlib.crc32(" ".join(sorted(vocabulary, key=vocabulary.__getitem__)).encode()) == 4220802360
    )


def test_build_returns_what_is_there(root: Path) -> None:
    directory = Path(built("bert-mlm", root))
    before = (directory / "config.json").stat().st_mtime_ns
    assert build("bert-mlm", root) == directory
    assert (directory / "config.json").stat().st_mtime_ns == before
    assert [path.name for path in root.iterdir() if path.name.startswith(".")] == []


def test_the_faster_of_two_builders_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def overtaken(directory: Path) -> None:
        (directory / "mine").touch()
        (tmp_path / "bert-mlm").mkdir()
        (tmp_path / "bert-mlm" / "theirs").touch()

    monkeypatch.setitem(MODELS, "bert-mlm", overtaken)
    assert files(build("bert-mlm", tmp_path)) == {"theirs": b""}
    assert [path.name for path in tmp_path.iterdir()] == ["bert-mlm"]


def test_a_failed_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(directory: Path) -> None:
        (directory / "half").touch()
        raise OSError("disk full")

    monkeypatch.setitem(MODELS, "bert-mlm", broken)
    with pytest.raises(OSError, match="disk full"):
        build("bert-mlm", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unknown_name_lists_the_valid_ones(root: Path) -> None:
    with pytest.raises(ValueError, match=r"must be one of bert-classification, .*got 'bert'"):
        build("bert", root)


@pytest.mark.parametrize("name", STOCK)
def test_stock_pipeline(name: str, root: Path) -> None:
    pipe = transformers.pipeline(STOCK[name], model=built(name, root))
    texts = TEXTS
    options: dict[str, Any] = {}
    if STOCK[name] == "fill-mask":
        texts = [f"{text} {pipe.tokenizer.mask_token}." for text in TEXTS]
    if STOCK[name] == "zero-shot-classification":
        options = {"candidate_labels": ["travel", "sport", "food and wine"]}
    if STOCK[name] == "text-generation":
        options = {"do_sample": False, "return_full_text": False}
    first, second = (pipe(text, **options) for text in texts)
    # Zero-shot answers contain the text itself.
    assert answer(first) != answer(second)
    assert first == pipe(texts[0], **options)


def answer(result: Any) -> Any:
    return result["scores"] if isinstance(result, dict) else result


@pytest.mark.skipif(
    "decision" not in transformers.pipelines.SUPPORTED_TASKS, reason="newer than this transformers"
)
def test_decision(root: Path) -> None:
    pipe = transformers.pipeline("decision", model=built("llama-lm", root))
    questions = {"refund": {"type": "noul", "instructions": "Refund?"}}
    first, second = (pipe({"state": text, "questions": questions}) for text in TEXTS)
    assert first["refund"]["noul"] != pytest.approx(second["refund"]["noul"], abs=1e-3)


@pytest.mark.parametrize("name", [name for name in STOCK if name.endswith("-classification")])
def test_labels_are_told_apart(name: str, root: Path) -> None:
    pipe = transformers.pipeline("text-classification", model=built(name, root))
    results = pipe(CORPUS)
    assert len({result["label"] for result in results}) > 1
    assert max(result["score"] for result in results) > 0.7


@pytest.mark.parametrize("name", [name for name in STOCK if name.endswith("-ner")])
def test_entities_of_every_kind(name: str, root: Path) -> None:
    pipe = transformers.pipeline(
        "token-classification", model=built(name, root), aggregation_strategy="simple"
    )
    entities = [entity for text in CORPUS for entity in pipe(text)]
    assert {entity["entity_group"] for entity in entities} == {"PER", "LOC", "ORG"}


@pytest.mark.parametrize("name", TABLE_QA)
def test_table_question_answering(name: str, root: Path) -> None:
    pipe = transformers.pipeline("table-question-answering", model=built(name, root))
    questions = ["Which country has the largest city?", "How many people live in Paris?", "Berlin?"]
    answers = [pipe(table=TABLE, query=question) for question in questions]
    assert len({answer["answer"] for answer in answers}) > 1
    assert ("aggregator" in answers[0]) == (name == "tapas-qa")


@pytest.mark.parametrize("name", QA)
def test_question_answering(name: str, root: Path) -> None:
    directory = built(name, root)
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(directory)
    places = set()
    for text in CORPUS[20:30]:
        with torch.no_grad():
            logits = model(**tokenizer("Who was it?", text, return_tensors="pt")).start_logits[0]
        assert logits.std() > 0.5
        places.add(int(logits.argmax()))
    assert len(places) > 3


@pytest.mark.parametrize("name", SEQ2SEQ)
def test_sequence_to_sequence(name: str, root: Path) -> None:
    directory = built(name, root)
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(directory)
    outputs = [
        model.generate(**tokenizer(text, return_tensors="pt"))[0].tolist() for text in CORPUS
    ]
    end = model.generation_config.eos_token_id
    lengths = {output.index(end, 1) if end in output[1:] else 0 for output in outputs}
    assert len(lengths) > 2  # some texts end early, others never
    assert len({tuple(output) for output in outputs}) > 0.8 * len(CORPUS)
    assert sum(len(set(output)) for output in outputs) > 5 * len(CORPUS)
