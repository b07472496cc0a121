"""The Dockerfile of an image for workers: what it has, and what is refused."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest

from pipelines_beam import cli
from pipelines_beam.commands import statuses

NAME = "registry.example.com:5000/me/pipelines-beam:1"
VERSION = importlib.metadata.version("pipelines-beam")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
BEAMS = f"apache/beam_python{PYTHON}_sdk:{beam.__version__}"

Refusal = Callable[..., str]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def version(package: str) -> str:
    return importlib.metadata.version(package).partition("+")[0]


def written(*options: str) -> str:
    assert cli.main(["image", NAME, *options]) == statuses.DONE
    return Path("Dockerfile").read_text()


def test_the_versions_are_those_here(capsys: pytest.CaptureFixture[str]) -> None:
    text = written("--extras=vision,audio")
    assert f"\nFROM {BEAMS}\n" in text
    assert f" torch=={version('torch')}+cpu transformers=={version('transformers')} " in text
    assert f" torchvision=={version('torchvision')}+cpu\n" in text
    assert f"\nRUN pip install --no-cache-dir 'pipelines-beam[vision,audio]=={VERSION}'\n" in text
    assert "ENTRYPOINT" not in text  # that of Beam's image
    assert "HF_HOME" not in text
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"docker build --tag {NAME} --file Dockerfile .",
        f"docker push {NAME}",
        f"pipelines-beam run … --sdk_container_image={NAME}",
    ]


@pytest.mark.parametrize(
    ("option", "base"),
    [
        ("--cuda", "nvidia/cuda:"),
        ("--cuda=my/ubuntu-cuda:2", "my/ubuntu-cuda:2\n"),
        (f"--cuda=my/cuda@sha256:{'0a' * 32}", f"my/cuda@sha256:{'0a' * 32}\n"),
    ],
)
def test_on_cuda(option: str, base: str) -> None:
    text = written(option)
    assert f"\nFROM {base}" in text
    assert f"\nCOPY --from={BEAMS} /opt/apache/beam /opt/apache/beam\n" in text
    assert f"'apache-beam[gcp,yaml]=={beam.__version__}'" in text
    assert f" torch=={version('torch')} " in text
    assert "download.pytorch.org" not in text
    assert f"python{PYTHON}-venv" in text
    assert text.endswith('ENTRYPOINT ["/opt/apache/beam/boot"]\n')
    # Else boot makes an environment in which nothing of this one is.
    assert "\nENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1\n" in text


def test_a_wheel_and_models_are_copied(tmp_path: Path) -> None:
    wheel = Path("dist") / f"pipelines_beam-{VERSION}-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.touch()
    Path("my model").mkdir()
    text = written(
        f"--wheel={wheel}", "--extras=vision", "--model=my model", "--model=org/name@v1.0"
    )
    assert f'\nCOPY ["dist/{wheel.name}", "/tmp/{wheel.name}"]\n' in text
    assert f"pip install --no-cache-dir '/tmp/{wheel.name}[vision]'" in text
    assert f'\nCOPY ["my model", "{tmp_path / "my model"}"]\n' in text
    assert "\nENV HF_HOME=/opt/huggingface\nRUN hf download org/name --revision v1.0\n" in text


def test_a_file_that_exists_stays(refusal: Refusal) -> None:
    Path("Dockerfile").write_text("mine")
    assert refusal("image", NAME) == "Dockerfile exists: --overwrite replaces it\n"
    assert Path("Dockerfile").read_text() == "mine"
    assert written("--overwrite").startswith("# Workers of pipelines-beam.\nFROM ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["image", "My Image"], "the image must be the name of an image, such as"),
        (["image", "a/"], "the image must be the name of an image, such as"),
        (["image", "me//x"], "the image must be the name of an image, such as"),
        (["image", NAME, "--cuda=no image"], "--cuda must be the name of an image, such as"),
        (["image", NAME, "--extras=vison"], "--extras: unknown extra 'vison'. Did you mean 'visi"),
        (["image", NAME, "--model=a b"], "--model must be a directory that exists, or an id of"),
        (["image", NAME, "--model=/no/where/at/all"], "--model must be a directory that exists"),
        (
            ["image", NAME, "--wheel=other-1.whl"],
            f"--wheel must be the file pipelines_beam-{VERSION}-….whl",
        ),
        (["image", NAME, "--model=/usr"], "give --output in a folder that '/usr' is in"),
        (["image", NAME, "--output=no/where"], "no/where cannot be written: No such file"),
        (["image", NAME, "--cud"], "unknown argument '--cud'. Did you mean '--cuda'?"),
    ],
)
def test_what_cannot_be_built_is_refused(arguments: list[str], said: str, refusal: Refusal) -> None:
    assert said in refusal(*arguments)
    assert os.listdir() == []


def test_what_docker_would_not_copy_is_refused(refusal: Refusal, tmp_path: Path) -> None:
    Path("m$HOME[1]").mkdir()
    assert "in a path for a pattern or a variable" in refusal("image", NAME, "--model=m$HOME[1]")
    Path("snapshot").mkdir()
    (tmp_path / "blob").touch()
    os.symlink("../blob", "snapshot/config.json")
    said = refusal("image", NAME, "--model=snapshot")
    assert "has links to files that Docker does not copy, such as 'config.json'" in said
    wheel = f"pipelines_beam-{VERSION}-'; touch x; '.whl"
    Path(wheel).touch()
    assert "--wheel must be the file" in refusal("image", NAME, f"--wheel={wheel}")
    assert not Path("Dockerfile").exists()
