"""What columns hold becomes the input that transformers takes, or a failure row that says why."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import transformers
import yaml
from apache_beam.yaml import yaml_transform
from support import sink
from support.comparing import same
from support.models.speech import needs_speech
from support.pictures import PICTURES
from support.runs import RUNNER
from support.sounds import sound
from support.texts import CORPUS
from transformers import GenerationConfig
from transformers.pipelines.zero_shot_classification import ZeroShotClassificationArgumentHandler

from pipelines_beam import pipeline
from pipelines_beam.provider import expand
from transforms.media import image
from transforms.options.media_limits import MediaLimits
from transforms.options.nested import plain
from transforms.pipelines.classes.zero_shot_image import own_labels
from transforms.rows.files import png
from transforms.rows.inputs import Inputs
from transforms.tasks import TASKS, find

Model = Callable[[str], str]
Run = Callable[..., list[Any]]
PROMPT, OTHER = CORPUS[3], CORPUS[4]
NEW: dict[str, Any] = {"max_new_tokens": 4}


class Message(NamedTuple):
    role: str
    content: str


@dataclasses.dataclass(frozen=True, slots=True)
class Said:
    role: str
    content: str


CHAT = [{"role": "user", "content": PROMPT}]
CHATS: dict[str, Any] = {
    "dicts": CHAT,
    "tuple": tuple(CHAT),
    "rows": [beam.Row(**CHAT[0])],
    "named tuples": [Message(**CHAT[0])],
    "dataclasses": [Said(**CHAT[0])],
    "pyarrow": pa.scalar(CHAT),
    "numpy": np.array([*CHAT, None], object)[:1],
    "pandas": pd.Series(CHAT),
    "blocks with nulls": [
        {"role": "user", "content": PROMPT, "tool_calls": None, "name": None},
    ],
}


def outputs(rows: list[Any], transform: Any) -> tuple[list[Any], list[Any]]:
    """The good rows and the failures, in any order."""
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        found = p | beam.Create(rows, reshuffle=False) | transform.with_exception_handling()
        found.good | "Good" >> beam.Map(lambda row: sink.collect((True, row)))
        found.bad | "Bad" >> beam.Map(lambda row: sink.collect((False, row)))
    good = [row for is_good, row in sink.collected if is_good]
    bad = [row for is_good, row in sink.collected if not is_good]
    sink.collected.clear()
    return good, bad


# several inputs in a column


def test_a_column_with_several_prompts_or_chats_is_a_failure_row(model: Model) -> None:
    stock = transformers.pipeline("text-generation", model("llama-lm"), device="cpu")
    cells = {
        0: PROMPT,
        1: [PROMPT, OTHER],
        2: CHAT,
        3: [CHAT, CHAT],
        4: [PROMPT],
        5: [CHAT],
        6: [],
        7: np.array([PROMPT, OTHER], object),
    }
    rows = [{"id": i, "asked": cell} for i, cell in cells.items()]
    transform = pipeline("text-generation", model("llama-lm"), input="asked", **NEW)
    good, bad = outputs(rows, transform)
    expected = stock(PROMPT, **NEW)[0]["generated_text"]
    said = stock(CHAT, **NEW)[0]["generated_text"][-1]["content"]
    answers = {row["id"]: row["generated_text"] for row in good}
    assert answers == {0: expected, 2: said, 4: expected, 5: said}
    assert sorted(row.element["id"] for row in bad) == [1, 3, 6, 7]
    for row in bad:
        count = len(row.element["asked"])
        assert row.stage == "preprocess"
        assert row.message.startswith("column 'asked': text must be one text or chat")
        assert f"got a list of {count}" in row.message


def test_plain_lists_are_answered_as_transformers_does(model: Model, run: Run) -> None:
    stock = transformers.pipeline("text-generation", model("llama-lm"), device="cpu")
    elements = [[PROMPT, OTHER], CHAT, [CHAT, CHAT]]
    transform = pipeline("text-generation", model("llama-lm"), **NEW)
    for element in elements:
        (found,) = run([element], transform)
        assert found.example == element
        assert found.inference == stock(element, **NEW)


@pytest.mark.parametrize("task", ["image-text-to-text", "any-to-any"])
def test_several_texts_beside_images_are_a_failure_row(task: str, model: Model) -> None:
    photo = png(PICTURES[0])
    columns = {"text": "asked", "images": "photos"}
    rows = [
        {"asked": "<image> What?", "photos": photo},
        {"asked": ["<image> What?", "<image> Who?"], "photos": [photo, photo]},
    ]
    good, bad = outputs(rows, pipeline(task, model("llava"), input=columns, **NEW))
    assert len(good) == 1
    assert "text must be one text or chat, got a list of 2" in bad[0].message
    assert bad[0].stage == "preprocess"


def test_several_answers_that_only_the_model_asks_for_are_not_dropped(
    model: Model, tmp_path: Path
) -> None:
    tiny = transformers.AutoModelForCausalLM.from_pretrained(model("llama-lm"))
    tiny.generation_config = GenerationConfig(num_beams=2, num_return_sequences=2, **NEW)
    tiny.save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(model("llama-lm")).save_pretrained(tmp_path)
    rows = [{"asked": PROMPT}]
    good, bad = outputs(rows, pipeline("text-generation", str(tmp_path), input="asked"))
    assert not good
    assert "gave 2 answers" in bad[0].message
    assert "num_return_sequences=2" in bad[0].message
    transform = pipeline(
        "text-generation", str(tmp_path), input="asked", num_return_sequences=2, num_beams=2
    )
    ((row,), _) = outputs(rows, transform)
    assert len(row["generated_text"]) == 2


def test_several_sounds_are_a_failure_and_channels_are_one_sound(model: Model) -> None:
    one, other = sound("a", 0.3), sound("b", 0.3)
    rows = [
        {"id": 0, "audio": one},
        {"id": 1, "audio": [one, other]},
        {"id": 2, "audio": one.tolist()},
        {"id": 3, "audio": [{"array": one, "sampling_rate": 16_000}] * 2},
        {"id": 4, "audio": [one]},
        {"id": 5, "audio": np.stack([one, one])},
    ]
    transform = pipeline("automatic-speech-recognition", model("whisper"), input="audio", **NEW)
    good, bad = outputs(rows, transform)
    assert {row["id"]: row["text"] for row in good} == dict.fromkeys([0, 2, 4, 5], good[0]["text"])
    assert {row.element["id"] for row in bad} == {1, 3}
    assert all("audio must be one sound, got a list of 2" in row.message for row in bad)


# words


WORDS = [["Sarah", "lives", "in", "Berlin"], ["Müller"], ["New", "York", "!"]]


@pytest.mark.parametrize(
    "more", [{}, {"delimiter": ""}, {"aggregation_strategy": "simple"}], ids=str
)
def test_words_of_a_text_are_one_input(more: dict[str, Any], model: Model, run: Run) -> None:
    options = {"is_split_into_words": True, "ignore_labels": [], **more}
    stock = transformers.pipeline("token-classification", model("bert-ner"), device="cpu")
    expected = [stock(words, **options) for words in WORDS]
    assert all(len(each) == 1 for each in expected)
    plain = run(WORDS, pipeline("token-classification", model("bert-ner"), **options))
    for found in plain:
        assert same(found.inference, expected[WORDS.index(found.example)])
    rows = [{"id": i, "words": words} for i, words in enumerate(WORDS)]
    rows += [{"id": 9, "words": json.dumps(WORDS[0])}]
    transform = pipeline("token-classification", model("bert-ner"), input="words", **options)
    good, bad = outputs(
        [*rows, {"id": 10, "words": "Sarah lives"}, {"id": 11, "words": WORDS}], transform
    )
    for row in good:
        wanted = expected[row["id"] % 9][0]
        assert len(row["entities"]) == len(wanted)
        for entity, item in zip(row["entities"], wanted, strict=True):
            assert same({name: entity[name] for name in item}, item)
    assert len(good) == 4
    messages = {row.element["id"]: row.message for row in bad}
    assert messages.keys() == {10, 11}
    assert "text must be a list, got str" in messages[10]
    assert "text must be one text, got a list of 3" in messages[11]


def test_a_list_that_is_no_text_says_how_words_are_taken(model: Model) -> None:
    _, bad = outputs(
        [{"words": WORDS[0]}], pipeline("token-classification", model("bert-ner"), input="words")
    )
    assert bad[0].stage == "preprocess"
    assert "is_split_into_words=True takes a list of strings" in bad[0].message


@pytest.mark.parametrize(("item", "said"), [(5, "int 5"), (None, "None")])
def test_a_word_that_is_no_text_is_named(item: Any, said: str, model: Model) -> None:
    options: dict[str, Any] = {"is_split_into_words": True, "input": "words"}
    transform = pipeline("token-classification", model("bert-ner"), **options)
    _, (row,) = outputs([{"words": ["the", item]}], transform)
    assert f"text[1] must be a string, got {said}" in row.message


# chats


@pytest.mark.slow
@pytest.mark.parametrize("kind", [dict, beam.Row])
def test_chats_of_rows_of_every_kind(kind: Any, model: Model, run: Run) -> None:
    stock = transformers.pipeline("text-generation", model("llama-lm"), device="cpu")
    said = stock(CHAT, **NEW)[0]["generated_text"][-1]["content"]
    transform = pipeline("text-generation", model("llama-lm"), input="chat", **NEW)
    for name, chat in CHATS.items():
        (row,) = run([kind(chat=chat)], transform)
        columns = row if kind is dict else row._asdict()
        assert columns["generated_text"] == said, name


def test_plain_chats_of_rows(model: Model, run: Run) -> None:
    stock = transformers.pipeline("text-generation", model("llama-lm"), device="cpu")
    (found,) = run([CHATS["named tuples"]], pipeline("text-generation", model("llama-lm"), **NEW))
    assert found.example == CHATS["named tuples"]
    assert found.inference == stock(CHAT, **NEW)


def test_nulls_that_a_schema_puts_into_blocks_are_no_images() -> None:
    inputs = Inputs(task=find("image-text-to-text"), parameters={}, single=True)
    block = {"type": "text", "text": "hi", "image": None, "video": None}
    chat = [
        {"role": "user", "content": [block], "name": None},
        {"role": "assistant", "content": None},
    ]
    expected = [
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"role": "assistant", "content": None},
    ]
    assert inputs.of(chat) == expected
    assert inputs.named({"text": pa.scalar(chat, pa.infer_type([chat])), "images": None}) == {
        "text": expected,
        "images": None,
    }
    as_written = Inputs(task=find("image-text-to-text"), parameters={})
    assert as_written.of(chat) is chat, "what a user writes is what transformers is given"


def test_chats_in_beam_yaml(model: Model, tmp_path: Path) -> None:
    stock = transformers.pipeline("text-generation", model("llama-lm"), device="cpu")
    said = stock(CHAT, **NEW)[0]["generated_text"][-1]["content"]
    (tmp_path / "chats.jsonl").write_text(f'{{"id": 1, "chat": {json.dumps(json.dumps(CHAT))}}}\n')
    create = {"type": "Create", "config": {"elements": [{"id": 1, "chat": CHAT}]}}
    read = {"type": "ReadFromJson", "config": {"path": str(tmp_path / "chats.jsonl")}}
    for source, options in ((create, {}), (read, {"json_chats": True})):
        config = {"model": model("llama-lm"), "input": "chat", **options, **NEW}
        out = tmp_path / str(source["type"])
        steps = [
            source,
            {"type": "TextGeneration", "config": config},
            {"type": "WriteToParquet", "config": {"path": str(out / "part")}},
        ]
        text = json.dumps({"pipeline": {"type": "chain", "transforms": steps}})
        spec = yaml.load(text, Loader=yaml_transform.SafeLineLoader)
        with beam.Pipeline(RUNNER) as p:
            expand(p, spec, str(tmp_path / "job.yaml"))
        (path,) = out.glob("part*")
        assert pq.read_table(path)["generated_text"].to_pylist() == [said]


IN_JSON = json.dumps(CHAT)


@pytest.mark.parametrize("task", ["text-generation", "image-text-to-text", "any-to-any"])
@pytest.mark.parametrize("text", [IN_JSON, f"\n {json.dumps(CHAT, indent=1)}", f"[{IN_JSON}]"])
@pytest.mark.parametrize("single", [False, True])
def test_a_chat_in_json_is_refused_with_a_hint(task: str, text: str, single: bool) -> None:
    inputs = Inputs(task=find(task), parameters={}, single=single)
    with pytest.raises(TypeError, match="holds a chat in JSON: json_chats=True") as refused:
        inputs.of(text)
    assert len(str(refused.value)) < 400
    with pytest.raises(TypeError, match="json_chats=True"):
        inputs.named({"text": text})


@pytest.mark.parametrize(
    "text",
    [
        "[INST] hi [/INST]",
        "[1, 2]",
        '[{"a": 1}]',
        '["role", "content"]',
        '[{"role": "user", "con',
        "{}",
    ],
)
def test_other_texts_are_prompts(text: str) -> None:
    assert Inputs(task=find("text-generation"), parameters={}, single=True).of(text) == text


def test_chats_in_json_are_taken_where_the_option_says_so(model: Model) -> None:
    stock = transformers.pipeline("text-generation", model("llama-lm"), device="cpu")
    rows = [
        {"id": 0, "chat": IN_JSON},
        {"id": 1, "chat": PROMPT},
        {"id": 2, "chat": IN_JSON[:-5]},
        {"id": 3, "chat": f"[{IN_JSON}, {IN_JSON}]"},
        {"id": 4, "chat": CHAT},
    ]
    transform = pipeline("text-generation", model("llama-lm"), input="chat", json_chats=True, **NEW)
    good, bad = outputs(rows, transform)
    said = stock(CHAT, **NEW)[0]["generated_text"][-1]["content"]
    text = stock(PROMPT, **NEW)[0]["generated_text"]
    assert {row["id"]: row["generated_text"] for row in good} == {0: said, 1: text, 4: said}
    messages = {row.element["id"]: row.message for row in bad}
    assert "looks like a chat in JSON, but is not valid JSON" in messages[2]
    assert "got a list of 2" in messages[3]


def test_chats_in_json_are_prompts_where_the_option_says_so(model: Model, run: Run) -> None:
    stock = transformers.pipeline("text-generation", model("llama-lm"), device="cpu")
    transform = pipeline("text-generation", model("llama-lm"), json_chats=False, **NEW)
    (found,) = run([IN_JSON], transform)
    assert found.inference == stock(IN_JSON, **NEW)


@pytest.mark.parametrize("task", ["text-classification", "summarization"])
def test_tasks_without_chats_have_no_such_option(task: str, model: Model) -> None:
    with pytest.raises(TypeError, match=f"json_chats: {task} takes no chats"):
        pipeline(task, model("bert-classification"), json_chats=True)
    with pytest.raises(TypeError, match="json_chats must be True, False or None, got 'yes'"):
        pipeline("text-generation", model("llama-lm"), json_chats="yes")


# other structures

TABLE = {"city": ["Paris", "Berlin"], "people": ["2", "3"]}
RECORDS = [{"city": "Paris", "people": "2"}, {"city": "Berlin", "people": "3"}]
TABLES: dict[str, Any] = {
    "dict": TABLE,
    "row": beam.Row(**TABLE),
    "json": json.dumps(TABLE),
    "records": RECORDS,
    "rows": [beam.Row(**each) for each in RECORDS],
    "json records": json.dumps(RECORDS),
    "pandas": pd.DataFrame(TABLE),
    "pyarrow": pa.table(TABLE),
    "struct": pa.scalar(TABLE),
}


def test_tables_of_every_kind(model: Model, run: Run) -> None:
    stock = transformers.pipeline("table-question-answering", model("tapas-qa"), device="cpu")
    expected = stock({"table": TABLE, "query": "how many people"})
    columns = {"table": "data", "query": "asked"}
    rows = [
        {"id": i, "data": each, "asked": "how many people"}
        for i, each in enumerate(TABLES.values())
    ]
    found = run(rows, pipeline("table-question-answering", model("tapas-qa"), input=columns))
    assert len(found) == len(TABLES)
    for row in found:
        assert row["answer"] == expected["answer"]
        assert row["cells"] == expected["cells"]


def test_candidate_labels_of_rows() -> None:
    inputs = Inputs(task=find("zero-shot-image-classification"), parameters={}, single=True)

    def labels(given: Any) -> Any:
        return inputs.named({"image": b"x", "candidate_labels": given})["candidate_labels"]

    assert labels(json.dumps(["a, b", "c"])) == ["a, b", "c"]
    assert labels("a,b") == "a,b"
    assert labels(np.array(["a", "b"])) == ["a", "b"]
    assert labels(("a", "b")) == ["a", "b"]
    with pytest.raises(
        TypeError, match=r"candidate_labels\[0\] must be a string, got bool True.*quotes"
    ):
        labels([True, False])


@pytest.mark.skipif("decision" not in TASKS, reason="this transformers has no such task")
def test_states_that_are_structures_are_one_state() -> None:
    inputs = Inputs(task=find("decision"), parameters={}, single=True)
    questions = {"refund": {"type": "noul", "instructions": "Is a refund asked for?"}}
    assert inputs.of("a text") == "a text"
    assert inputs.of(beam.Row(age=3, name="x")) == {"state": {"age": 3, "name": "x"}}
    assert inputs.of(CHATS["named tuples"]) == {"state": CHAT}
    assert inputs.of(["one", "two"]) == {"state": ["one", "two"]}
    assert inputs.of(beam.Row(state="x", questions=questions)) == {
        "state": "x",
        "questions": questions,
    }
    found = inputs.named({"state": beam.Row(age=3), "questions": json.dumps(questions)})
    assert found == {"state": {"age": 3}, "questions": questions}


# files of one transform are the input of another


@pytest.mark.parametrize("kind", [dict, beam.Row])
def test_images_that_a_transform_made_are_inputs_of_another(
    kind: Any, model: Model, run: Run
) -> None:
    larger = pipeline("image-to-image", model("swin2sr"), input="photo", output="larger")
    seen = pipeline("image-classification", model("vit-classification"), input="larger")
    stock = transformers.pipeline("image-classification", model("vit-classification"), device="cpu")
    rows = [kind(id=i, photo=png(each)) for i, each in enumerate(PICTURES[:2])]
    found = run(rows, larger, seen)
    assert len(found) == 2
    for row in found:
        columns = row if isinstance(row, dict) else row._asdict()
        file = columns["larger"]
        data = file["bytes"] if isinstance(file, dict) else file.bytes
        picture = image.decode(data, MediaLimits())
        got = [
            each if isinstance(each, dict) else each._asdict() for each in columns["predictions"]
        ]
        assert same(got, stock(picture))


@needs_speech
@pytest.mark.parametrize("kind", [dict, beam.Row])
def test_sounds_that_a_transform_made_are_inputs_of_another(
    kind: Any, model: Model, run: Run
) -> None:
    says = pipeline("text-to-audio", model("vits"), input="text", output="said")
    hears = pipeline(
        "automatic-speech-recognition", model("whisper"), input="audio", output="heard", **NEW
    )

    def with_audio(row: Any) -> Any:
        if isinstance(row, dict):
            return {**row, "audio": row["said"]["audio"]}
        return beam.Row(text=row.text, audio=row.said.audio)

    rows = [kind(text="Yes"), kind(text="no one answered")]
    found = run(rows, says, beam.Map(with_audio), hears)
    assert len(found) == 2
    for row in found:
        assert isinstance((row if isinstance(row, dict) else row._asdict())["heard"], str)


def test_numbers_that_are_longer_than_pythons() -> None:
    assert plain([np.longdouble(0.5), np.clongdouble(2)]) == [0.5, 2]


@pytest.mark.parametrize(
    ("text", "expected"), [("a,b", ["a", "b"]), (" a cat , a dog,", ["a cat", "a dog"])]
)
def test_labels_in_one_text_are_those_between_commas(text: str, expected: list[str]) -> None:
    """As in the zero-shot task for texts; for objects, stock keeps the blanks."""
    stock = ZeroShotClassificationArgumentHandler()
    assert stock._parse_labels(text) == expected
    for name in ("image", "audio"):
        for given in ({name: "x", "candidate_labels": text}, "x"):
            found = own_labels(given, text, name)
            assert found == {name: "x", "candidate_labels": expected}
    found = own_labels("x", text, split=lambda labels: labels.split(","))
    assert found["candidate_labels"] == text.split(",")
    with pytest.raises(ValueError, match="candidate_labels must be given"):
        own_labels("x", " , ")
