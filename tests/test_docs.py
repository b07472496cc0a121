"""The documentation does what it says: every block of code in README, CONTRIBUTING and docs/.

Blocks of Python are run, those of one page one after the other; one that begins with `# name.py` is
that file. Blocks of YAML are jobs, and are run. Of blocks for a shell, the project's own commands
are run; of others it is checked that what they name exists. `<!-- not run: why -->` before a block
has its syntax checked only.
"""

from __future__ import annotations

import json
import pickle
import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import yaml
from apache_beam.options.pipeline_options import StandardOptions
from cases import CASES, UNTESTED, Model
from sklearn.linear_model import LinearRegression
from support.commands import command
from support.docs import (
    BLOCKS,
    FILES,
    LANGUAGES,
    Block,
    blocks_in,
    command_lines,
    compiled,
    file_of,
    site,
)
from support.paths import CONFIGS, ROOT
from support.pictures import film, picture
from support.sounds import RATE, sound
from support.texts import CORPUS

from transforms.tasks import TASKS, find

PYTHON_PAGES = list(dict.fromkeys(block.page for block in BLOCKS if block.language == "python"))

#: What the default run has of pages, and of the examples of tasks.
QUICK = {"README.md", "docs/guide/failures.md", "docs/guide/rows.md", "text-classification"}


def quick(name: str) -> Any:
    """A parameter that is slow unless the default run has it."""
    return pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)


#: The tiny models that stand for those that the pages name.
MODELS = {
    "distilbert/distilbert-base-cased-distilled-squad": "distilbert-qa",
    "distilbert/distilbert-base-uncased-finetuned-sst-2-english": "bert-classification",
    "facebook/bart-large-mnli": "bart-nli",
    "google/vit-base-patch16-224": "vit-classification",
    "my/model": "bert-classification",
    "my/sentiment-2": "bert-classification",
    "openai/whisper-tiny.en": "whisper",
    "nvidia/segformer-b0-finetuned-ade-512-512": "segformer",
    "Qwen/Qwen3-0.6B": "llama-lm",
    "sentence-transformers/all-MiniLM-L6-v2": "bert-encoder",
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "sd-ddim",
}
#: The tiny models that answer the examples of tasks, where not the first case of the task does.
TINY = {
    "any-to-any": "qwen2-audio",
    "decision": "llama-lm",
    "fill-mask": "roberta-mlm",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the blocks read, but for models."""
    folder = tmp_path_factory.mktemp("world")
    texts = [{"id": i, "text": text} for i, text in enumerate(CORPUS[:12])]
    for table in ("reviews.parquet", "reviews/part.parquet", "configs/data/texts.parquet"):
        (folder / table).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(texts), folder / table)
    for path in CONFIGS.glob("*.yaml"):
        shutil.copy(path, folder / "configs")
    for shown in ("cat", "left", "right"):
        picture(shown, 64, 48).save(folder / f"{shown}.png")
    photos = [{"id": 1, "photo": str(folder / "cat.png")}, {"id": 2, "photo": "nowhere.png"}]
    pq.write_table(pa.Table.from_pylist(photos), folder / "photos.parquet")
    soundfile.write(folder / "speech.wav", sound("speech", 1.0), RATE)
    (folder / "clip.mp4").write_bytes(film("clip", 20, 64, 48))
    for block in BLOCKS:
        name = file_of(block)
        if name is not None:
            (folder / name).write_text(block.code)
    return folder


@pytest.fixture
def here(world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory is that folder. Beam's default runner, a download, is refused."""
    monkeypatch.chdir(world)
    monkeypatch.syspath_prepend(world)
    monkeypatch.setattr(StandardOptions, "DEFAULT_RUNNER", "examples.name.a.runner")
    return world


Put = Callable[[str], None]


@pytest.fixture
def put(here: Path, model: Model) -> Put:
    """Puts the models that a text names into the working directory, under their names."""

    def put(text: str) -> None:
        for name, tiny in MODELS.items():
            if name in text:
                link(here / name, model(tiny))
        if "their/model" in text:
            add_code(Path(model("bert-classification")), here / "their" / "model")
        if "model.pkl" in text:
            save_regression(here / "model.pkl")

    return put


def link(name: Path, target: str) -> None:
    name.parent.mkdir(parents=True, exist_ok=True)
    if not name.exists():
        name.symlink_to(target)


def add_code(model: Path, directory: Path) -> None:
    """A model whose repository has a pipeline class of its own: that of the guide."""
    if directory.exists():
        return
    shutil.copytree(model, directory)
    shutil.copy("my_package.py", directory / "theirs.py")
    config = json.loads((directory / "config.json").read_text())
    own = {"impl": "theirs.MyPipeline", "pt": ["AutoModelForSequenceClassification"]}
    config["custom_pipelines"] = {"its-task": own}
    (directory / "config.json").write_text(json.dumps(config))


def save_regression(path: Path) -> None:
    fitted = LinearRegression().fit(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([1.0, 2.0]))
    path.write_bytes(pickle.dumps(fitted))


def test_every_block_is_of_a_known_language() -> None:
    unknown = {str(block): block.language for block in BLOCKS if block.language not in LANGUAGES}
    assert not unknown, "say what it is, and how it is tested"
    fences = sum(path.read_text(encoding="utf-8").count("```") for path in FILES)
    assert fences == 2 * len(BLOCKS), "a block is indented, or its marker is not right before it"


@pytest.mark.parametrize("page", PYTHON_PAGES)
def test_the_python_of_a_page_is_python(page: str) -> None:
    for block in BLOCKS:
        if block.page == page and block.language == "python":
            compiled(block)


# Beam does not close the file.
@pytest.mark.filterwarnings("ignore:unclosed file.*model.pkl:ResourceWarning")
@pytest.mark.filterwarnings("ignore:.*model.pkl:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("page", [quick(page) for page in PYTHON_PAGES])
def test_the_python_of_a_page_runs(page: str, put: Put, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in BLOCKS:
        whole = block.page == page and block.language == "python" and file_of(block) is None
        if whole and block.excuse is None:
            put(block.code)
            capsys.readouterr()
            exec(compiled(block), names)
            assert "print" not in block.code or capsys.readouterr().out.strip(), block


def of(language: str) -> list[Any]:
    """The blocks of a language. Those that run a job take a process of their own."""
    found = [block for block in BLOCKS if block.language == language]
    runs = {block for block in found if language == "yaml" or "pipelines-beam" in block.code}
    return [
        pytest.param(each, id=str(each), marks=pytest.mark.slow if each in runs else ())
        for each in found
    ]


@pytest.mark.parametrize("block", of("yaml"))
def test_a_yaml_job_runs(block: Block, put: Put, tmp_path: Path) -> None:
    assert yaml.safe_load(block.code)
    if block.excuse is None:
        put(block.code)
        (tmp_path / "job.yaml").write_text(block.code)
        done = command("run", str(tmp_path / "job.yaml"))
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", of("sh"))
def test_the_commands_of_a_block_exist_and_run(block: Block, put: Put) -> None:
    for words in command_lines(block.code):
        check = COMMANDS.get(words[0])
        assert check is not None, f"{block}: nothing tests {words[0]}"
        if block.excuse is None:
            check(words[1:], put)


def _pipelines_beam(arguments: list[str], put: Put) -> None:
    for argument in arguments:
        if argument.endswith(".yaml"):
            put(Path(argument).read_text())
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def _make(arguments: list[str], put: Put) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {each for each in arguments if "=" not in each} <= set(targets)


def _pip(arguments: list[str], put: Put) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert arguments.pop(0) == "install"
    for argument in arguments:
        if argument == "-e":
            continue
        match = re.fullmatch(r"(\.|pipelines-beam)(?:\[([\w,-]+)\])?", argument)
        assert match, argument
        extras = {*(match[2] or "").split(",")} - {""}
        assert extras <= project["optional-dependencies"].keys()


def _python(arguments: list[str], put: Put) -> None:
    if arguments[:2] == ["-m", "pytest"]:
        _pytest(arguments[2:], put)
    else:
        assert (ROOT / arguments[0]).is_file(), arguments


def _pytest(arguments: list[str], put: Put) -> None:
    for argument in arguments:
        if argument.startswith("tests/"):
            assert (ROOT / argument.partition("::")[0]).exists(), argument


def _git(arguments: list[str], put: Put) -> None:
    assert arguments[0] in ("clone", "tag", "push"), arguments


#: What checks the rest of a command, by its first word.
COMMANDS: dict[str, Callable[[list[str], Put], None]] = {
    ".venv/bin/python": _python,
    "build/release/bin/python": _python,
    "git": _git,
    "make": _make,
    "pip": _pip,
    "pipelines-beam": _pipelines_beam,
    "python": _python,
}


@pytest.mark.parametrize("name", [quick(name) for name in TASKS if name not in UNTESTED])
def test_the_example_of_a_task_runs(
    name: str,
    here: Path,
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (block,) = blocks_in(name, site()["task_page"](name))
    default, _ = TASKS[name].default()
    folder = here / "examples" / name
    link(folder / default, model(TINY.get(name) or first_model(name)))
    for path in here.glob("*.*"):
        link(folder / path.name, str(path))
    monkeypatch.chdir(folder)
    exec(compiled(block), {"__name__": "__main__"})
    assert capsys.readouterr().out.strip()


def first_model(name: str) -> str:
    return next(str(case.model) for case in CASES if find(case.task).name == name)
