"""The registry of tasks, by name, alias and common other names."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from pathlib import Path

from ..options.suggest import did_you_mean, likely, normal, unknown
from .audio import TASKS as AUDIO_TASKS
from .image import TASKS as IMAGE_TASKS
from .multimodal import TASKS as MULTIMODAL_TASKS
from .task import Task
from .text import TASKS as TEXT_TASKS
from .video import TASKS as VIDEO_TASKS

_ALL = (*TEXT_TASKS, *IMAGE_TASKS, *VIDEO_TASKS, *AUDIO_TASKS, *MULTIMODAL_TASKS)


def _is_absent(task: Task) -> bool:
    """Whether the installed transformers lacks a task; it is not imported for that."""
    if not task.recent:
        return False
    spec = importlib.util.find_spec("transformers")
    assert spec is not None
    assert spec.origin is not None
    file = f"{task.name.replace('-', '_')}.py"
    return not Path(spec.origin).with_name("pipelines").joinpath(file).exists()


#: Tasks that the installed transformers does not have yet.
ABSENT: frozenset[str] = frozenset(task.name for task in _ALL if _is_absent(task))
TASKS: dict[str, Task] = {task.name: task for task in _ALL if task.name not in ABSENT}
ALIASES: dict[str, str] = {alias: task.name for task in TASKS.values() for alias in task.aliases}

#: Tasks of past and present transformers without a transform, each with the reason.
LEFT_OUT: dict[str, str] = {}

#: Other common names of tasks, for suggestions.
_OTHER_NAMES: dict[str, str] = {
    "asr": "automatic-speech-recognition",
    "captioning": "image-to-text",
    "chat": "text-generation",
    "classification": "text-classification",
    "depth": "depth-estimation",
    "detection": "object-detection",
    "docqa": "document-question-answering",
    "embedding": "feature-extraction",
    "embeddings": "feature-extraction",
    "extractiveqa": "question-answering",
    "generation": "text-generation",
    "imagecaptioning": "image-to-text",
    "img2img": "image-to-image",
    "img2text": "image-to-text",
    "llm": "text-generation",
    "maskedlm": "fill-mask",
    "mlm": "fill-mask",
    "namedentityrecognition": "token-classification",
    "postagging": "token-classification",
    "qa": "question-answering",
    "sam": "mask-generation",
    "segmentation": "image-segmentation",
    "sentenceembedding": "feature-extraction",
    "sentiment": "text-classification",
    "speechrecognition": "automatic-speech-recognition",
    "speechtotext": "automatic-speech-recognition",
    "stt": "automatic-speech-recognition",
    "summarisation": "summarization",
    "summarize": "summarization",
    "summary": "summarization",
    "tableqa": "table-question-answering",
    "texttovoice": "text-to-audio",
    "tokenclassifier": "token-classification",
    "transcription": "automatic-speech-recognition",
    "translate": "translation",
    "tts": "text-to-audio",
    "txt2img": "text-to-image",
    "vlm": "image-text-to-text",
    "whisper": "automatic-speech-recognition",
    "zeroshot": "zero-shot-classification",
}

_LANGUAGE_PAIR = re.compile(r"translation_[a-z]{2,3}_to_[a-z]{2,3}")


def find(name: str) -> Task:
    """The task of a name or alias. Raises ValueError, which lists the valid names."""
    if isinstance(name, str) and _LANGUAGE_PAIR.fullmatch(name):
        return TASKS["translation"]
    if name in ABSENT:
        version = importlib.metadata.version("transformers")
        raise ValueError(
            f"transformers {version} does not have the task {name!r} yet: a newer one is needed"
        )
    found = TASKS.get(ALIASES.get(name, name)) if isinstance(name, str) else None
    if found is None:
        valid = [*TASKS, *ALIASES, "translation_xx_to_yy"]
        raise ValueError(unknown("task", name, valid, hint=did_you_mean(_meant(name))))
    return found


def of_other_name(name: object) -> str | None:
    """The name of the task that has another common name, such as "asr"; else None."""
    return _OTHER_NAMES.get(normal(name).removesuffix("pipeline"))


def _meant(name: object) -> str | None:
    """The name of the task that was probably meant by an unknown name."""
    task = of_other_name(name)
    if task is not None:
        return task
    by_transform = {task.transform: task.name for task in TASKS.values()}
    transform = likely(name, by_transform)
    own = likely(name, [*TASKS, *ALIASES])
    return own if own is not None else by_transform.get(transform or "")


def canonical(name: str) -> str:
    """The name to build the pipeline with: aliases are resolved, language pairs are kept."""
    return name if _LANGUAGE_PAIR.fullmatch(name) else find(name).name
