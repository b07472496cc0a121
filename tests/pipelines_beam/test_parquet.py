"""Parquet files with structs in their columns, in Beam YAML and in Python."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import transformers
import yaml
from apache_beam.yaml import yaml_transform
from support import sink
from support.commands import command
from support.comparing import same
from support.pictures import PICTURES
from support.runs import RUNNER
from support.sounds import RATE, sound

from pipelines_beam import pipeline
from pipelines_beam.parquet import ReadFromParquet
from pipelines_beam.provider import expand

Model = Callable[[str], str]
Run = Callable[..., list[Any]]

MIXED = {
    "id": pa.array([1, 2], pa.int32()),
    "unsigned": pa.array([1, 2], pa.uint16()),
    "ratio": pa.array([0.5, None], pa.float32()),
    "text": pa.array(["a", None], pa.large_string()),
    "kind": pa.array(["x", "y"]).dictionary_encode(),
    "nothing": pa.nulls(2),
    "vector": pa.array([[1.0, 2.0], []], pa.large_list(pa.float32())),
    "fixed": pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2)),
    "photo": pa.array([{"bytes": b"x", "path": None}, None]),
    "chat": pa.array([[{"role": "user", "content": "hi"}], []]),
    "deep": pa.array([{"a": {"b": [{"c": 1}]}}, {"a": None}]),
    "counts": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
}


def read(path: Any, *more: Any, **options: Any) -> list[Any]:
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        rows = p | ReadFromParquet(str(path), **options)
        for i, step in enumerate(more):
            rows = rows | f"Step{i}" >> step
        rows | "Collect" >> beam.Map(sink.collect)
    return sorted(sink.collected, key=lambda row: row[0])


def taken_apart(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {name: taken_apart(item) for name, item in value._asdict().items()}
    return [taken_apart(item) for item in value] if isinstance(value, list) else value


def test_structs_are_rows_on_every_way(tmp_path: Path) -> None:
    pq.write_table(pa.table(MIXED), tmp_path / "in.parquet")
    kept = beam.Filter(lambda row: row.photo is None or row.photo.bytes == b"x")
    found = read(tmp_path / "*.parquet", kept, beam.Reshuffle())
    expected = pa.table(MIXED).to_pylist()
    for row in expected:
        row["counts"] = dict(row["counts"])
    assert [taken_apart(row) for row in found] == expected


def test_columns_may_be_chosen_also_within_structs(tmp_path: Path) -> None:
    pq.write_table(pa.table(MIXED), tmp_path / "in.parquet")
    found = read(tmp_path / "in.parquet", columns=["id", "text"])
    assert [row._asdict() for row in found] == [{"id": 1, "text": "a"}, {"id": 2, "text": None}]
    inside = ["id", "photo.bytes", "deep.a", "chat.list.element.role"]
    rows = read(tmp_path / "in.parquet", beam.Reshuffle(), columns=inside)
    assert [taken_apart(row) for row in rows] == [
        {
            "id": 1,
            "photo": {"bytes": b"x"},
            "deep": {"a": {"b": [{"c": 1}]}},
            "chat": [{"role": "user"}],
        },
        {"id": 2, "photo": None, "deep": {"a": None}, "chat": []},
    ]


@pytest.mark.parametrize(
    ("column", "valid"),
    [
        ("txt", "id, unsigned"),
        ("id.x", "id, unsigned"),
        ("photo.byte", r"photo\.bytes, photo\.path$"),
        ("pho", "id, unsigned"),
    ],
)
def test_columns_that_there_are_not(column: str, valid: str, tmp_path: Path) -> None:
    pq.write_table(pa.table(MIXED), tmp_path / "in.parquet")
    with pytest.raises(ValueError, match=f"there is no column '{column}': there are {valid}"):
        ReadFromParquet(str(tmp_path / "in.parquet"), columns=["id", column])


def test_what_cannot_be_read_is_said_at_build(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"there is no file .*none\.parquet"):
        ReadFromParquet(str(tmp_path / "none.parquet"), validate=False)
    pq.write_table(pa.table({"id": [1], "my text": ["a"]}), tmp_path / "in.parquet")
    with pytest.raises(ValueError, match=r"names of Python variables.*my text.*columns=\["):
        ReadFromParquet(str(tmp_path / "in.parquet"))
    assert [row.id for row in read(tmp_path / "in.parquet", columns=["id"])] == [1]


DAY = datetime.date(2020, 1, 2)
NOW = datetime.datetime(2020, 1, 2, 3, 4, 5, 678_901)
ZONES = (None, "UTC", "Europe/Berlin")
#: Columns that come out of a job with the types that they had.
KEPT: dict[str, pa.Array] = {
    **{
        f"moment_{unit}_{i}": pa.array([1_600_000_000, None, 1], pa.timestamp(unit, zone))
        for unit in ("ms", "us", "ns")
        for i, zone in enumerate(ZONES)
    },
    "beyond": pa.array([2**62, None, -(2**62)], pa.timestamp("us", "UTC")),
    "beyond_day": pa.array([2**30, None, 1], pa.date32()),
    "day": pa.array([DAY, None, DAY]),
    "day_ms": pa.array([DAY, None, DAY], pa.date64()),
    "time_ms": pa.array([1, None, 2], pa.time32("ms")),
    "time_us": pa.array([1, None, 2], pa.time64("us")),
    "time_ns": pa.array([1000, None, 2000], pa.time64("ns")),
    "duration": pa.array([1, None, -2], pa.duration("ms")),
    "price": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal(-(10**20))]),
    "long_price": pa.array([decimal.Decimal("1.50"), None, None], pa.decimal256(70, 5)),
    "unsigned": pa.array([2**64 - 1, None, 0], pa.uint64()),
    "raw": pa.array([b"\xff\x00", None, b""]),
    "code": pa.array([b"abcd", None, b"wxyz"], pa.binary(4)),
    "good": pa.array([True, None, False]),
    "moments": pa.array([[NOW, None], None, []], pa.list_(pa.timestamp("us"))),
    "struct": pa.array(
        [{"day": DAY, "price": decimal.Decimal("1.10")}, None, {"day": None, "price": None}],
        pa.struct([("day", pa.date32()), ("price", pa.decimal128(5, 2))]),
    ),
    "structs": pa.array([[{"u": 2**64 - 1}], None, []], pa.list_(pa.struct([("u", pa.uint64())]))),
    "by_name": pa.array([[("k", DAY)], None, []], pa.map_(pa.string(), pa.date32())),
}
#: Those of the types that Beam's schemas have for theirs, with the same values.
WIDENED: dict[str, tuple[pa.Array, pa.DataType]] = {
    "u32": (pa.array([2**32 - 1, None, 0], pa.uint32()), pa.int64()),
    "small": (pa.array([-1, None, 1], pa.int8()), pa.int16()),
    "half": (pa.array([np.float16(0.1), None, np.float16(2)], pa.float16()), pa.float32()),
    "long_text": (pa.array(["a", None, "é"], pa.large_string()), pa.string()),
    "kind": (pa.array(["x", None, "x"]).dictionary_encode(), pa.string()),
    "nothing": (pa.nulls(3), pa.string()),
    "fixed": (pa.array([[1.5], [2], [3]], pa.list_(pa.float32(), 1)), pa.list_(pa.float32())),
}


def job(path: Path, transforms: list[dict[str, Any]]) -> None:
    """Run the transforms of a job of Beam YAML."""
    spec = yaml.load(
        json.dumps({"pipeline": {"transforms": transforms}}), Loader=yaml_transform.SafeLineLoader
    )
    with beam.Pipeline(RUNNER) as p:
        expand(p, spec, str(path / "job.yaml"))


def test_columns_of_all_types_come_out_as_they_were(model: Model, tmp_path: Path) -> None:
    """Of rows that are answered; and of those that fail, in every format."""
    wide = {name: column for name, (column, _) in WIDENED.items()}
    texts = pa.array(["good", None, "bad"])  # None is no text
    pq.write_table(pa.table({"text": texts, **KEPT, **wide}), tmp_path / "in.parquet")
    config = {"model": model("bert-classification"), "input": "text"}
    read = {"type": "ReadFromParquet", "config": {"path": str(tmp_path / "in.parquet")}}
    keep = {"language": "python", "keep": "True"}
    job(
        tmp_path,
        [
            {"name": "Read", **read},
            {"type": "Filter", "input": "Read", "config": keep},
            {
                "type": "TextClassification",
                "name": "Task",
                "input": "Filter",
                "config": {**config, "error_handling": {"output": "failed"}},
            },
            *(
                {
                    "type": type_,
                    "name": out,
                    "input": input_,
                    "config": {"path": f"{tmp_path}/{out}"},
                }
                for type_, out, input_ in [
                    ("WriteToParquet", "rows", "Task"),
                    ("WriteToJson", "failed_json", "Task.failed"),
                    ("WriteToCsv", "failed_csv", "Task.failed"),
                    ("WriteToParquet", "failed_parquet", "Task.failed"),
                ]
            ),
        ],
    )
    given = pq.read_table(tmp_path / "in.parquet").take([0, 2])
    (path,) = tmp_path.glob("rows*")
    found = pq.read_table(path).sort_by([("text", "descending")])
    for name in KEPT:
        assert found[name].type == given[name].type, name
        assert found[name].equals(given[name]), name
    for name, (_, kind) in WIDENED.items():
        assert found[name].type == kind
        assert found[name].to_pylist() == given[name].to_pylist(), name
    _check_failed(tmp_path)


def _check_failed(folder: Path) -> None:
    """The one failed row has an element without any values, but for `fixed`."""
    (path,) = folder.glob("failed_json*")
    element = json.loads(path.read_text())["element"]
    assert {name: value for name, value in element.items() if value is not None} == {"fixed": [2.0]}
    (path,) = folder.glob("failed_parquet*")
    assert json.loads(pq.read_table(path)["element"][0].as_py()) == element
    (path,) = folder.glob("failed_csv*")
    with path.open() as file:
        (row,) = csv.DictReader(file)
    assert json.loads(row["element"]) == element


def test_values_of_all_types_in_json_and_csv(tmp_path: Path) -> None:
    pq.write_table(pa.table(KEPT), tmp_path / "in.parquet")
    read = {"type": "ReadFromParquet", "config": {"path": str(tmp_path / "in.parquet")}}
    for kind in ("Json", "Csv"):
        write = {
            "type": f"WriteTo{kind}",
            "input": "Read",
            "config": {"path": f"{tmp_path}/{kind}"},
        }
        job(tmp_path, [{"name": "Read", **read}, write])
    expected = {
        "moment_ms_0": "1970-01-19T12:26:40",
        "moment_us_1": "1970-01-01T00:26:40+00:00",
        "moment_ns_2": "1970-01-01T01:00:01.600000+01:00",
        "beyond": "148108-07-06T14:00:27.387904",
        "beyond_day": "2941775-04-07",
        "day": "2020-01-02",
        "day_ms": "2020-01-02",
        "time_us": "00:00:00.000001",
        "duration": "P0DT0H0M0.001S",
        "price": "1.50",
        "unsigned": 2**64 - 1,
        "raw": "/wA=",
        "good": True,
        "moments": ["2020-01-02T03:04:05.678901", None],
        "struct": {"day": "2020-01-02", "price": "1.10"},
        "structs": [{"u": 2**64 - 1}],
        "by_name": {"k": "2020-01-02"},
    }
    (path,) = tmp_path.glob("Json-*")
    row = json.loads(path.read_text().splitlines()[0])
    assert {name: row[name] for name in expected} == expected
    (path,) = tmp_path.glob("Csv-*")
    with path.open() as file:
        cells = next(csv.DictReader(file))
    for name, value in expected.items():
        if isinstance(value, list | dict):
            assert json.loads(cells[name]) == value
        else:
            assert cells[name] == str(value)


def test_what_python_cannot_hold_is_read(tmp_path: Path) -> None:
    """A text that is not UTF-8, as some writers let through, does not end the job."""
    offsets = pa.array([0, 1, 3], pa.int32()).buffers()[1]
    texts = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"a\xffb")])
    pq.write_table(pa.table({"id": [1, 2], "text": texts}), tmp_path / "in.parquet")
    rows = read(tmp_path / "in.parquet")
    assert [row.text for row in rows] == ["a", "\ufffdb"]


def test_values_that_schemas_have_no_type_for(tmp_path: Path) -> None:
    when = datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)
    pq.write_table(pa.table({"id": [1], "when": [when]}), tmp_path / "in.parquet")
    ((_, found),) = read(tmp_path / "in.parquet", beam.Reshuffle())
    assert found == when


def photos(path: Path) -> Path:
    """A file as `datasets` writes it."""
    rows = {"name": [f"n{i}" for i in range(3)], "image": list(PICTURES[:3])}
    features = datasets.Features({"name": datasets.Value("string"), "image": datasets.Image()})
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(path))
    assert pq.read_schema(path).field("image").type.get_field_index("bytes") == 0
    return path


def recordings(path: Path) -> Path:
    """A file as `datasets` writes it; decoding its sounds would need torchcodec."""
    rows = []
    for i in range(3):
        file = io.BytesIO()
        soundfile.write(file, sound(f"s{i}", 0.3 + i), RATE, format="WAV")
        rows.append({"name": f"n{i}", "audio": {"bytes": file.getvalue(), "path": None}})
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    info = {"info": {"features": {"audio": {"_type": "Audio"}}}}
    schema = pa.schema(
        [("name", pa.string()), ("audio", struct)], {"huggingface": json.dumps(info)}
    )
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return path


def test_images_of_datasets_in_python(model: Model, tmp_path: Path) -> None:
    photos(tmp_path / "in.parquet")
    stock = transformers.pipeline("image-classification", model("vit-classification"), device="cpu")
    look = pipeline("image-classification", model("vit-classification"), input="image")
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        p | beam.io.ReadFromParquet(str(tmp_path / "in.parquet")) | look | beam.Map(sink.collect)
    assert len(sink.collected) == 3
    for row in sink.collected:
        picture = PICTURES[int(row["name"][1:])].convert("RGB")
        assert same(row["predictions"], stock(picture))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "written", "name", "added"),
    [
        ("ImageClassification", photos, "vit-classification", "predictions"),
        ("AutomaticSpeechRecognition", recordings, "whisper", "text"),
    ],
)
def test_files_of_datasets_in_a_job(
    task: str, written: Any, name: str, added: str, model: Model, tmp_path: Path
) -> None:
    path = written(tmp_path / "in.parquet")
    medium = "image" if written is photos else "audio"
    (tmp_path / "job.yaml").write_text(f"""
pipeline:
  type: chain
  transforms:
    - type: ReadFromParquet
      config: {{path: {path}}}
    - type: {task}
      config: {{model: {model(name)}, input: {medium}}}
    - type: WriteToParquet
      config: {{path: {tmp_path}/out/rows.parquet}}
""")
    done = command("run", str(tmp_path / "job.yaml"))
    assert done.returncode == 0, done.stderr
    assert "none failed" in done.stdout
    (result,) = (tmp_path / "out").glob("*.parquet*")
    table = pq.read_table(result)
    assert sorted(table["name"].to_pylist()) == ["n0", "n1", "n2"]
    given = {row["name"]: row[medium] for row in pq.read_table(path).to_pylist()}
    assert {row["name"]: row[medium] for row in table.to_pylist()} == given
    assert all(each is not None for each in table[added].to_pylist())


def test_our_reader_stands_in_for_beams_in_yaml(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"id": [1, 2], "photo": [{"bytes": b"x", "path": None}] * 2}),
        tmp_path / "in.parquet",
    )
    for name in ("path", "file_pattern"):
        text = f"""
pipeline:
  type: chain
  transforms:
    - type: ReadFromParquet
      config: {{{name}: {tmp_path}/in.parquet, columns: [id, photo]}}
    - type: Filter
      config: {{language: python, keep: "id > 1 and photo.bytes == b'x'"}}
    - type: WriteToParquet
      config: {{path: {tmp_path}/{name}/out}}
"""
        spec = yaml.load(text, Loader=yaml_transform.SafeLineLoader)
        with beam.Pipeline(RUNNER) as p:
            expand(p, spec, str(tmp_path / "job.yaml"))
        (path,) = (tmp_path / name).glob("out*")
        assert pq.read_table(path).to_pylist() == [
            {"id": 2, "photo": {"bytes": b"x", "path": None}}
        ]


def test_what_pandas_and_numpy_make_of_structs(model: Model, run: Run, tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.read_parquet(photos(tmp_path / "in.parquet"))
    assert isinstance(frame["image"][0], dict)
    chats = pd.DataFrame({"chat": [np.array([{"role": "user", "content": "hi"}], object)]})
    look = pipeline("image-classification", model("vit-classification"), input="image")
    assert len(run(frame.to_dict("records"), look)) == 3
    says = pipeline("text-generation", model("llama-lm"), input="chat", max_new_tokens=2)
    (row,) = run(chats.to_dict("records"), says)
    assert isinstance(row["generated_text"], str)
