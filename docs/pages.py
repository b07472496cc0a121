"""Pages of the site that are made from the source: one for each task, and the files beside README.

A hook of mkdocs: see `hooks` in mkdocs.yml. Nothing that it makes is kept in the repository.
"""

from __future__ import annotations

import inspect
import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import transforms
from pipelines_beam import tasks
from transforms.tasks import REQUIRED, TASKS, Task, audio, image, multimodal, text, video

ROOT = Path(__file__).parent.parent

#: Files outside docs/ that are pages of the site, and the pages that they become.
BESIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
}
#: The groups of the tasks, as the modules of their declarations have them.
GROUPS = {
    "Text": text.TASKS,
    "Images": image.TASKS,
    "Video": video.TASKS,
    "Audio": audio.TASKS,
    "Several": multimodal.TASKS,
}

#: What else is a parameter, by what the description of a task says.
MORE_PARAMETERS = {
    "tokenizer_keywords": "Every keyword of the tokenizer's call is a parameter, too.",
    "generation_keywords": "Every keyword of `model.generate` is a parameter, too.",
    "own_parameters": "`seed` is a parameter, too; so are `details` and `response_format` where "
    "answers are texts: see the guide to generated texts.",
    "open_parameters": "Those of the call of the model's own pipeline are parameters, too.",
}

#: What examples ask, by the name of the input or parameter.
EXAMPLES: dict[str, Any] = {
    "audio": "speech.wav",
    "candidate_labels": ["travel", "cooking"],
    "context": "My name is Sarah and I live in London.",
    "image": "cat.png",
    "images": ["left.png", "right.png"],
    "prompt": "a red house by the sea",
    "query": "How many people live in Paris?",
    "question": "What is in the picture?",
    "state": "The parcel arrived broken, and nobody answers my letters.",
    "table": {"city": ["Paris", "Berlin"], "people": ["2102650", "3755251"]},
    "text": "I live in London and I love this film.",
    "video": "clip.mp4",
}
#: Where an example needs more than its required inputs, or others.
OWN_EXAMPLES: dict[str, Any] = {
    "any-to-any": {
        "text": [{"role": "user", "content": [{"type": "text", "text": "What is the sea?"}]}]
    },
    "decision": {
        "state": EXAMPLES["state"],
        "questions": {
            "topic": {
                "type": "choice",
                "instructions": "What is it about?",
                "criteria": {"damage": "a damaged parcel", "delay": "a late parcel"},
            }
        },
    },
    "document-question-answering": {
        "question": "What is the total?",
        "word_boxes": [["Total:", [100, 100, 180, 130]], ["12.50", [200, 100, 280, 130]]],
    },
    "fill-mask": {"text": "Paris is the <mask> of France."},
    "image-text-to-text": {
        "text": [
            {
                "role": "user",
                "content": [
                    {"type": "image", "url": "cat.png"},
                    {"type": "text", "text": "What is in the picture?"},
                ],
            }
        ]
    },
    "question-answering": {"question": "Where does Sarah live?", "context": EXAMPLES["context"]},
}


def pages() -> dict[str, str]:
    """Every generated page: its path below docs/, and its Markdown."""
    found = {page: (ROOT / name).read_text(encoding="utf-8") for name, page in BESIDE.items()}
    found["tasks/index.md"] = all_tasks()
    found |= {f"tasks/{name}.md": task_page(name) for name in TASKS}
    return found


def linked(markdown: str, source: str, page: str) -> str:
    """Markdown with its links as they are on the site.

    Links to files that the site does not have become plain text.

    Args:
      markdown: what a file says.
      source: its path in the repository.
      page: the path of the page that it becomes.

    """

    def link(match: re.Match[str]) -> str:
        label, target = match[1], match[2]
        if ":" in target or target.startswith("#"):
            return match[0]
        path, mark, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        found = BESIDE.get(path) or (path.removeprefix("docs/") if path[:5] == "docs/" else None)
        if found is None:
            return label
        return f"[{label}]({posixpath.relpath(found, posixpath.dirname(page))}{mark}{anchor})"

    return re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", link, markdown)


def all_tasks() -> str:
    """The table of all tasks, with links to their pages."""
    table = re.sub(r"^\| `([\w-]+)`", r"| [`\1`](\1.md)", tasks.as_markdown(), flags=re.MULTILINE)
    return (
        f"# All tasks\n\n{table}\nWhat to know about them is in [the guide](../guide/tasks.md).\n"
    )


def task_page(name: str) -> str:
    """The page of a task, from its declaration and its class."""
    task = TASKS[name]
    described = json.loads(tasks.one_as_json(name))
    names = ", ".join(f"`{each}`" for each in (name, *task.aliases))
    doc = inspect.getdoc(getattr(transforms, task.transform))
    model = described["default_model"]
    return "\n\n".join(
        [
            f"# {task.transform}",
            f"Task: {names}",
            str(doc),
            f"## Example\n\n```python\n{example(task)}```",
            "Instead of single inputs, [rows](../guide/rows.md) can come in, with `input=`; and "
            "[failures](../guide/failures.md) can come out beside the results.",
            "## Inputs",
            _table(
                ("input", "type", ""),
                (
                    (f"`{key}`", " or ".join(each["types"]), "" if each["required"] else "optional")
                    for key, each in described["inputs"].items()
                ),
            ),
            "## Parameters",
            *_parameters(task, described),
            "All tasks have [these options](../reference/options.md), too.",
            "## Columns",
            _columns(described["columns"]),
            *(
                f"With `{choice}`:\n\n{_columns(columns)}"
                for choice, columns in described["columns_with"].items()
                if columns != described["columns"]
            ),
            "## Default model",
            f"[`{model}`](https://huggingface.co/{model}), revision "
            f"`{described['default_revision']}`. It is used, with a warning, if no model is named.",
        ]
    )


def example(task: Task) -> str:
    """A job of one element, as Python."""
    model, _ = task.default()
    asked = OWN_EXAMPLES.get(task.name) or {
        name: EXAMPLES[name] for name in task.inputs if name not in task.optional_inputs
    }
    element = asked if len(asked) > 1 else next(iter(asked.values()))
    needed = [name for name, default in task.parameters.items() if default is REQUIRED]
    if "candidate_labels" in task.optional_inputs:
        needed.append("candidate_labels")
    given = "".join(f", {name}={EXAMPLES[name]!r}" for name in needed)
    return (
        "import apache_beam as beam\n"
        f"from pipelines_beam import {', '.join(sorted(['LocalPipeline', task.transform]))}\n\n"
        f"element = {_literal(element)}\n"
        f'transform = {task.transform}("{model}"{given.replace(chr(39), chr(34))})\n'
        "with LocalPipeline() as p:\n"
        "    found = p | beam.Create([element]) | transform\n"
        "    found | beam.Map(lambda result: print(result.inference))\n"
    )


def _literal(value: Any) -> str:
    """Plain data as Python: on several lines where one would be long."""
    line = json.dumps(value)
    return line if len(line) < 80 else json.dumps(value, indent=4)


def _parameters(task: Task, described: Mapping[str, Any]) -> Iterator[str]:
    said = descriptions(task.pipeline_class())
    rows = [
        (
            f"`{name}`",
            "required" if "required" in each else f"`{each['default']!r}`",
            said.get(name, ""),
        )
        for name, each in described["parameters"].items()
    ]
    if rows:
        yield _table(("parameter", "default", ""), rows)
    else:
        yield "It has none of its own."
    yield from (text for name, text in MORE_PARAMETERS.items() if described[name])


def _columns(columns: Mapping[str, str]) -> str:
    return _table(
        ("column", "type"), ((f"`{name}`", f"`{kind}`") for name, kind in columns.items())
    )


#: A bar within a cell.
_ESCAPED = r"\|"


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', _ESCAPED) for cell in row)} |" for row in lines
    )


#: A parameter in a docstring: of transformers, as "name (`type`, …):"; of this project, "name: …".
_PARAMETER = re.compile(r"^( *)(\w+(?:, \w+)*)(?: \(`[^\n]*\))?:(?: +|\n)(?=\s*\S)", re.MULTILINE)


def descriptions(cls: type[Any]) -> dict[str, str]:
    """What a pipeline class says of its parameters in its docstrings: first paragraphs."""
    found: dict[str, str] = {}
    for each in cls.__mro__:
        if each.__name__ == "Pipeline":
            break
        for doc in (each.__doc__, each.__call__.__doc__ if "__call__" in vars(each) else None):
            for names, said in _said(inspect.cleandoc(doc or "")):
                for name in names.split(", "):
                    found.setdefault(name, said)
    return found


def _said(doc: str) -> Iterator[tuple[str, str]]:
    _, args, rest = doc.partition("Args")
    text = rest if args else doc
    for match in _PARAMETER.finditer(text):
        paragraph = " ".join(_paragraph(text[match.end() :].splitlines(), len(match[1])))
        plain = re.sub(r"\[`~?([^`]*)`\](?:\([^)]*\))?", r"`\1`", paragraph)
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", plain)
        yield match[2], plain[:1].upper() + plain[1:]


def _paragraph(lines: Iterable[str], indent: int) -> Iterator[str]:
    """The lines up to the first empty one, and the list that they announce."""
    last = ""
    for i, line in enumerate(lines):
        found = line.strip()
        if (not found and not last.endswith(":")) or (
            i and found and len(line) - len(line.lstrip()) <= indent
        ):
            return
        last = found or last
        yield f"<br>• {found[2:]}" if found.startswith("- ") else found


def on_config(config: Any) -> Any:
    """Put the pages of the tasks into the navigation."""
    (group,) = (each["Tasks"] for each in config["nav"] if "Tasks" in each)
    for title, members in GROUPS.items():
        names = [task.name for task in members if task.name in TASKS]
        group.append({title: [{TASKS[name].transform: f"tasks/{name}.md"} for name in names]})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    for path, content in pages().items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links between files of the repository to their pages."""
    path = page.file.src_uri
    sources = {page: source for source, page in BESIDE.items()}
    return linked(markdown, sources.get(path, f"docs/{path}"), path)
