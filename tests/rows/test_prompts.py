"""Prompts and chats made of the columns of a row."""

from __future__ import annotations

import io
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipelines_beam import ImageTextToText, QuestionAnswering, TextGeneration, predict
from transforms.rows.prompts import Prompt, prompt_of
from transforms.tasks import find

ROW = {"name": "Anna", "age": 7, "pets": ["cat", "dog"], "at": {"city": "Bonn"}, "gone": None}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Hello {{ name }}", "Hello Anna"),
        ("{{ name|upper }} is {{ age + 1 }}\n", "ANNA is 8\n"),
        ("{% for pet in pets %}{{ pet }};{% endfor %}{{ at.city }}", "cat;dog;Bonn"),
        ("{{ name }}{% if gone %}, {{ gone }}{% endif %}", "Anna"),
        ("<b>{{ name }}</b> {{ gone or '' }}", "<b>Anna</b> "),
        ("{{ lost or 'no' }}{{ order.items|join('+') }}{{ order.get }}", "noa+b1"),
    ],
)
def test_columns_stand_where_the_template_has_them(template: str, text: str) -> None:
    order = {"items": ["a", "b"], "get": 1}
    assert Prompt("prompt", template).filled({**ROW, "lost": np.nan, "order": order}) == text


def test_rows_within_rows_are_read() -> None:
    row = {"at": beam.Row(city="Bonn"), "names": pa.array(["a", "b"])}
    assert Prompt("prompt", "{{ at.city }} {{ names|join(',') }}").filled(row) == "Bonn a,b"


def test_messages_have_columns_in_them() -> None:
    image = {"bytes": b"1", "path": None}
    chat = Prompt(
        "messages",
        [
            {"role": "system", "content": "Be kind to {{ name }}."},
            "{{ before }}",
            {"role": "user", "content": [
                {"type": "image", "image": "{{ photo }}"},
                {"type": "text", "text": "{{ photo.path or 'What' }} is it?"},
            ]},
        ],
    )  # fmt: skip
    before = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert chat.columns == ("before", "name", "photo")
    assert chat.filled({**ROW, "before": before, "photo": image}) == [
        {"role": "system", "content": "Be kind to Anna."},
        *before,
        {"role": "user", "content": [
            {"type": "image", "image": image},
            {"type": "text", "text": "What is it?"},
        ]},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ nam }}", "unknown column 'nam'. Did you mean 'name'"),
        ("{{ gone }}", "a value is None.*None in this row: gone"),
        ("{{ lost }}", "a value is None.*None in this row: lost"),
        ("{{ at.items }}", "a method cannot be part of a text"),
        ("{{ raw }}", "bytes cannot be part of a text"),
        ("{{ name.__class__.__mro__ }}", "unsafe"),
        ("{{ at.street }}", "no attribute 'street'"),
        ("{{ age / 0 }}", "division by zero"),
        ("{{ pets.append(1) }}", "is unsafe"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(template: str, reason: str) -> None:
    with pytest.raises(TypeError, match=reason):
        Prompt("prompt", template).filled({**ROW, "raw": b"1", "lost": np.float32("nan")})


def test_templates_do_not_change_rows() -> None:
    row = {"pets": ["cat"]}
    with pytest.raises(TypeError, match="is unsafe"):
        Prompt("prompt", "{{ pets.append('dog') }}").filled(row)
    assert row == {"pets": ["cat"]}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"prompt": "Hello {{ name"}, "prompt, line 1: .*end of template"),
        ({"prompt": "Hello"}, "prompt has no column.*{% raw %}"),
        ({"prompt": ["{{ a }}"]}, "prompt must be a text"),
        ({"prompt": "{{ a }}", "messages": []}, "exclude each other"),
        ({"messages": "{{ a }}"}, "messages must be a list"),
        ({"messages": [{"role": "user", "text": "{{ a }}"}]}, r"messages\[0\] must be a message"),
        (
            {"messages": [{"role": "user", "content": "{{ a }} {% if %}"}]},
            r"messages\[0\]\['content'\], line 1",
        ),
        ({"messages": [{"role": "user", "content": "a"}]}, "messages has no column"),
    ],
)
def test_what_is_no_template_is_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises((TypeError, ValueError), match=reason):
        prompt_of(given.get("prompt"), given.get("messages"))


def test_a_misspelt_column_is_refused_when_the_pipeline_is_built(model: Any) -> None:
    generate = TextGeneration(model("gpt2-lm"), prompt="Of {{ titel }}:", max_new_tokens=2)
    with pytest.raises(ValueError, match=r"prompt: unknown column 'titel'. Did you mean 'title'"):
        generate.schema(pa.schema([("title", pa.string())]))
    rows = beam.Pipeline() | beam.Create([beam.Row(title="a")])
    with pytest.raises(ValueError, match="unknown column 'titel'"):
        rows | generate


@pytest.mark.parametrize(
    ("make", "options", "reason"),
    [
        (TextGeneration, {"input": "text"}, "prompt makes the input 'text'"),
        (TextGeneration, {"json_chats": True}, "json_chats is for texts in columns"),
        (QuestionAnswering, {}, "input does not say which column is context"),
        (ImageTextToText, {"input": "photo"}, "prompt makes the input 'text'"),
        (ImageTextToText, {"input": {"image": "photo"}}, "unknown input 'image'"),
    ],
)
def test_options_that_do_not_fit_a_prompt_are_refused(
    make: Any, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(TypeError, match=reason):
        make("some/model", prompt="{{ a }}", **options)


def test_messages_need_a_task_that_takes_chats() -> None:
    from pipelines_beam import Summarization

    with pytest.raises(TypeError, match="summarization takes no chats"):
        Summarization("some/model", messages=[{"role": "user", "content": "{{ a }}"}])


def test_the_parameter_prompt_of_a_task_stays_a_parameter() -> None:
    from pipelines_beam import ImageToText

    captions = ImageToText("some/model", prompt="a photo of")
    assert captions.spec.parameters == {"prompt": "a photo of"}
    assert find("image-to-text").parameters["prompt"] is None


def answers(transform: Any, rows: list[Any], run: Any) -> list[Any]:
    return [dict(vars(row)) for row in run([beam.Row(**row) for row in rows], transform)]


def test_rows_are_answered_as_their_prompts_are(model: Any, run: Any) -> None:
    source = model("gpt2-lm")
    rows = [{"id": i, "title": title} for i, title in enumerate(("a cat", '[{"role"', "[1]"))]
    generate = TextGeneration(source, prompt="About {{ title }} ({{ id }}):", max_new_tokens=3)
    plain = TextGeneration(source, input="text", max_new_tokens=3, json_chats=False)
    texts = [{"text": f"About {row['title']} ({row['id']}):"} for row in rows]
    found = {row["id"]: row["generated_text"] for row in answers(generate, rows, run)}
    expected = {row["text"]: row["generated_text"] for row in answers(plain, texts, run)}
    assert found == {i: expected[each["text"]] for i, each in enumerate(texts)}


def test_rows_of_tables_and_images_have_prompts(model: Any) -> None:
    image = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    table = pa.table({"photo": [file.getvalue()] * 2, "thing": ["cat", None], "id": [1, 2]})
    found, failed = predict(
        "image-text-to-text",
        table,
        model("llava"),
        on_error="rows",
        prompt="<image> Which {{ thing }} is it?",
        input={"images": "photo"},
        max_new_tokens=3,
    )
    assert found["id"].to_pylist() == [1]
    assert found["generated_text"][0].as_py().startswith("<image> Which cat is it?")
    assert failed["row"].to_pylist() == [1]
    assert "None in this row: thing" in failed["message"][0].as_py()


def _length(inference: Any) -> int:
    return len(inference[0]["generated_text"])


@pytest.mark.parametrize(
    "prompt",
    [{"prompt": "{{ a }}"}, {"messages": [{"role": "user", "content": "{{ a }}"}]}],
)
def test_an_own_function_has_a_typed_column_with_prompts(prompt: dict[str, Any]) -> None:
    generate = TextGeneration("some/model", postprocess=_length, **prompt)
    assert generate.schema(pa.schema([("a", pa.string())])).field("inference").type == pa.int64()
