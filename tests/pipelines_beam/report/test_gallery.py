"""What each task's results are shown with, and that nothing of the data gets out of its place."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.pictures import picture
from support.report_pages import HOSTILE
from support.reports import output_of
from support.sounds import RATE, sound

from pipelines_beam.io import report
from pipelines_beam.report import Report, gallery, media
from pipelines_beam.report.examples import Subject, examples
from pipelines_beam.report.parts import Bars, Card, Marked, Note, Part, Picture, Sound, Vector
from transforms.media.fetch import MediaError
from transforms.rows.files import png, wav

LABELS = [{"label": "good", "score": 0.9}, {"label": "bad", "score": 0.1}]
BOX = {"xmin": 10, "ymin": 20, "xmax": 110, "ymax": 70}


def image_of(name: str = "cat", width: int = 960, height: int = 480) -> dict[str, Any]:
    return {"bytes": png(picture(name, width, height)), "path": None}


def mask() -> dict[str, Any]:
    inside = np.zeros((480, 960), bool)
    inside[:240] = True
    from PIL import Image

    return {"bytes": png(Image.fromarray(inside.astype(np.uint8) * 255)), "path": None}


def audio() -> dict[str, Any]:
    return {"bytes": wav(sound("hum", 20.0), RATE), "path": None}


def cards(folder: Path, task: str, inputs: Mapping[str, str], row: Mapping[str, Any]) -> list[Card]:
    from pipelines_beam.io.output import Output

    output = Output(output_of(folder / "out", task, inputs, [row]))
    subject = Subject.of(output)
    return gallery.cards(examples(output, subject), subject)


def results(folder: Path, task: str, inputs: Mapping[str, str], row: Mapping[str, Any]) -> Any:
    """The parts of the results, by their labels."""
    (card,) = cards(folder, task, inputs, row)
    assert not [part for part in _parts(card) if isinstance(part, Note)]
    html = Report(str(folder / "out")).html
    for part in _parts(card):
        assert f'class="part {part.macro}"' in html
    return {part.label: part for part in card.results}


def _parts(card: Card) -> list[Part]:
    return [*card.inputs, *card.results]


TEXT, IMAGE, AUDIO = {"text": "text"}, {"image": "photo"}, {"audio": "clip"}


def test_labels_are_bars(tmp_path: Path) -> None:
    row = {"text": "so good", "label": "good", "score": 0.9}
    bars = results(tmp_path, "text-classification", TEXT, row)["label"]
    assert [(bar.label, bar.score, bar.percent) for bar in bars.bars] == [("good", "0.900", 90.0)]


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("text-classification", {"predictions": LABELS}),
        ("zero-shot-classification", {"labels": ["good", "bad"], "scores": [0.9, 0.1]}),
        ("fill-mask", {"predictions": [{"sequence": "good", "score": 0.9, "token_str": "good"}]}),
    ],
)
def test_several_labels_are_bars(tmp_path: Path, task: str, row: dict[str, Any]) -> None:
    (found,) = results(tmp_path, task, TEXT, {"text": "x", **row}).values()
    assert isinstance(found, Bars)
    assert (found.bars[0].label, found.bars[0].percent) == ("good", 90.0)


def test_entities_are_marked_in_the_text(tmp_path: Path) -> None:
    text = "Ada met Bob\u202e in Rome. " + "z" * 5000 + " Oslo"
    found = [
        {"entity_group": "PER", "score": 0.99, "word": "Ada", "start": 0, "end": 3},
        {"entity_group": "PER", "score": 0.98, "word": "Bob", "start": 8, "end": 11},
        {"entity_group": "PER", "score": 0.5, "word": "ob", "start": 9, "end": 11},
        {"entity_group": "LOC", "score": 0.97, "word": "Rome", "start": 16, "end": 20},
        {"entity_group": "LOC", "score": 0.97, "word": "Oslo", "start": 5023, "end": 5027},
    ]
    row = {"text": text, "entities": found}
    marked = results(tmp_path, "token-classification", TEXT, row)["entities"]
    assert isinstance(marked, Marked)
    labelled = [(span.text, span.label, span.score, span.colour) for span in marked.spans]
    assert labelled[:6] == [
        ("Ada", "PER", "0.99", 0),
        (" met ", "", "", 0),
        ("Bob", "PER", "0.98", 0),
        ("⟨U+202E⟩ in ", "", "", 0),
        ("Rome", "LOC", "0.97", 1),
        (f". {'z' * 678} … 4,327 more characters", "", "", 0),
    ]
    assert marked.more == 2


def test_answers_are_marked_in_the_context(tmp_path: Path) -> None:
    inputs = {"question": "question", "context": "context"}
    row = {"question": "Who?", "context": "It was Ada.", "score": 0.9, "start": 7, "end": 10}
    found = results(tmp_path, "question-answering", inputs, {**row, "answer": "Ada"})
    (marked,) = found.values()
    assert [span.text for span in marked.spans if span.label] == ["Ada"]


def test_boxes_lie_on_the_image(tmp_path: Path) -> None:
    objects = [{"label": "cat", "score": s, "box": BOX} for s in (0.9, 0.8)]
    row: dict[str, Any] = {"photo": image_of(), "objects": objects}
    shown = results(tmp_path, "object-detection", IMAGE, row)["objects"]
    assert isinstance(shown, Picture)
    assert (shown.width, shown.height) == (480, 240)
    box = shown.boxes[0]
    assert (box.x, box.y, box.width, box.height) == (5, 10, 50, 25)
    assert [(key.label, key.score) for key in shown.keys] == [("cat", "2 of them 0.80 to 0.90")]
    assert shown.alt == f"2 objects in {len(row['photo']['bytes']):,} bytes"


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("image-segmentation", {"segments": [{"label": "sky", "score": 0.9, "mask": mask()}]}),
        ("mask-generation", {"masks": [mask()], "scores": [0.9]}),
    ],
)
def test_masks_lie_on_the_image(tmp_path: Path, task: str, row: dict[str, Any]) -> None:
    (shown,) = results(tmp_path, task, IMAGE, {"photo": image_of(), **row}).values()
    assert isinstance(shown, Picture)
    assert [key.score for key in shown.keys] == ["0.90"]
    image = picture("cat", 960, 480)
    half = np.asarray(media.with_masks(image, [mask()], [0]), float)
    plain = np.asarray(media.small(image), float)
    assert np.abs(half[:110] - plain[:110]).mean() > 10
    assert np.abs(half[130:] - plain[130:]).max() == 0


def test_images_and_depths_are_pictures(tmp_path: Path) -> None:
    row = {"photo": image_of(), "depth": image_of("depth"), "predicted_depth": [[1.0, 2.0]]}
    (shown,) = results(tmp_path, "depth-estimation", IMAGE, row).values()
    assert isinstance(shown, Picture)
    assert shown.uri.startswith("data:image/webp;base64,")
    (shown,) = results(
        tmp_path / "made",
        "text-to-image",
        {"prompt": "prompt"},
        {"prompt": "a cat", "image": image_of()},
    ).values()
    assert isinstance(shown, Picture)


def test_several_images_stand_side_by_side(tmp_path: Path) -> None:
    row = {"photos": [image_of("cat", 100, 50), image_of("dog", 60, 80)], "matches": []}
    (card,) = cards(tmp_path, "keypoint-matching", {"images": "photos"}, row)
    (shown,) = card.inputs
    assert isinstance(shown, Picture)
    assert (shown.width, shown.height) == (160, 80)


def test_audio_is_played_and_transcripts_are_beside_it(tmp_path: Path) -> None:
    chunks = [{"text": "hello", "timestamp": [0.0, 1.5], "language": None}]
    row = {"clip": audio(), "text": "hello", "chunks": chunks}
    (card,) = cards(tmp_path, "automatic-speech-recognition", AUDIO, row)
    (played,), (text, table) = card.inputs, card.results
    assert isinstance(played, Sound)
    assert played.about == "20.0 s, 16,000 Hz; the first 12 s"
    kind, _, data = played.uri.partition(";base64,")
    assert kind == "data:audio/mpeg"
    assert len(data) < 200_000
    assert text.text == "hello"  # type: ignore[attr-defined]
    assert table.rows == [["0 to 1.5", "hello"]]  # type: ignore[attr-defined]
    assert (
        '<audio controls preload="metadata" src="data:audio/mpeg'
        in Report(str(tmp_path / "out")).html
    )


def test_made_audio_is_played(tmp_path: Path) -> None:
    row = {"text": "say it", "audio": audio(), "sampling_rate": RATE}
    (played,) = results(tmp_path, "text-to-audio", TEXT, row).values()
    assert isinstance(played, Sound)
    samples, rate = soundfile.read(io.BytesIO(_data(played.uri)))
    assert (rate, round(len(samples) / rate)) == (16_000, 12)


def _data(uri: str) -> bytes:
    import base64

    return base64.b64decode(uri.partition(",")[2])


def test_embeddings_are_summarised_with_what_is_like_them(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "embedding": [1.0, i / 10, -3.0]} for i in range(4)]
    output = output_of(tmp_path / "out", "feature-extraction", TEXT, rows)
    from pipelines_beam.io.output import Output

    subject = Subject.of(Output(output))
    found = gallery.cards(examples(Output(output), subject), subject)
    (vector,) = found[0].results
    assert isinstance(vector, Vector)
    assert vector.about == "3 numbers, length 3.16"
    assert vector.near == [("text 1", "1.000"), ("text 2", "0.998")]
    assert vector.bars == [(33.3, 16.7), (50.0, 0.0), (50.0, 50.0)]


def test_other_columns_are_texts_and_tables(tmp_path: Path) -> None:
    row = {"text": "x", "generated_text": "once", "extra": [{"a": 1, "b": "c"}], "more": {"k": 1}}
    found = results(tmp_path, "text-generation", TEXT, row)
    assert found["generated_text"].text == "once"
    assert (found["extra"].heads, found["extra"].rows) == (["a", "b"], [["1", "c"]])
    assert found["more"].text == '{"k": 1}'


def test_media_that_cannot_be_shown_say_why(tmp_path: Path) -> None:
    objects = [{"label": "cat", "score": 0.9, "box": BOX}]
    row = {"photo": str(tmp_path / "nowhere.png"), "objects": objects}
    (card,) = cards(tmp_path, "object-detection", IMAGE, row)
    assert [part.macro for part in _parts(card)] == ["note", "note"]
    assert "nowhere.png" in card.inputs[0].text  # type: ignore[attr-defined]


def test_media_are_bounded(tmp_path: Path) -> None:
    budget = media.Budget(size=10)
    media.picture_uri(picture("cat", 40, 30), budget)
    with pytest.raises(MediaError, match="as many bytes of media as it may have"):
        budget.check()
    with pytest.raises(MediaError, match="has taken as long as it may"):
        media.Budget(time_limit=-1).check()


def test_text_from_data_is_escaped_everywhere(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {
            "photo": each,
            "objects": [{"label": each, "score": 0.5, "box": BOX}],
            each[:100]: [{each[:100]: each}],
        }
        for each in HOSTILE
    ]
    names = dict.fromkeys(name for row in rows for name in row)
    rows = [{**dict.fromkeys(names), **row} for row in rows]
    why = {"stage": HOSTILE[0], "kind": HOSTILE[1], "error": HOSTILE[2], "message": HOSTILE[0]}
    failed = [
        {"file": each, "row": 1, "element": {"photo": each}, **why, "traceback": "", "attempts": 1}
        for each in HOSTILE
    ]
    html = report(output_of(tmp_path / "out", "object-detection", IMAGE, rows, failed=failed)).html
    assert "<script" not in html
    assert "<img src=x" not in html
    assert html.count("</style>") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "{{ 7 * 7 }}" in html
    assert "\x00" not in html
    assert "\u202e" not in html
    assert len(html) < 200_000


def test_a_page_is_bounded_however_much_there_is(tmp_path: Path) -> None:
    rows = [{"text": "y" * 100_000, "generated_text": "z" * 100_000} for _ in range(200)]
    html = report(output_of(tmp_path / "out", "text-generation", TEXT, rows)).html
    assert html.count("<article") == 24
    assert len(html) < 150_000
