"""The documentation says all that there is, and names nothing that there is not."""

from __future__ import annotations

import inspect
import re
from dataclasses import asdict

from support.docs import FILES, site
from support.paths import ROOT

from pipelines_beam import TaskTransform
from transforms.options.media_limits import MediaLimits
from transforms.tasks import TASKS

_PATH = re.compile(r"`((?:transforms|pipelines_beam|tests|configs|benchmarks|docs)/[\w./-]*)`")


def test_every_task_has_a_page_that_says_all_of_it() -> None:
    pages = site()["pages"]()
    for name, task in TASKS.items():
        page = pages[f"tasks/{name}.md"]
        for word in (*task.inputs, *task.parameters, *task.columns({}), *task.aliases):
            assert f"`{word}`" in page, (name, word)
        assert task.transform in pages["tasks/index.md"]
    assert {task.name for group in site()["GROUPS"].values() for task in group} >= set(TASKS)


def test_links_are_those_of_the_site() -> None:
    linked = site()["linked"]
    assert linked("[a](docs/guide/rows.md#x)", "README.md", "index.md") == "[a](guide/rows.md#x)"
    assert linked("[a](configs)", "README.md", "index.md") == "a"
    above = "[a](../../benchmarks/README.md)"
    assert linked(above, "docs/guide/rows.md", "guide/rows.md") == "[a](../benchmarks.md)"
    elsewhere = "[a](https://example.com) [b](#here)"
    assert linked(elsewhere, "README.md", "index.md") == elsewhere


def test_links_between_files_lead_somewhere() -> None:
    for path in FILES:
        if path.is_relative_to(ROOT / "docs"):  # the site is built strictly
            continue
        for target in re.findall(
            r"\]\(([^)\s:#]+)(?:#[\w-]*)?\)", path.read_text(encoding="utf-8")
        ):
            assert (path.parent / target).exists(), (path, target)


def test_every_metric_is_described() -> None:
    text = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    source = "".join(path.read_text() for path in (ROOT / "transforms").rglob("*.py"))
    names = set(re.findall(r'(?:NAMESPACE, |MISFITS = )"(\w+)"', source))
    assert len(names) > 10
    suspects = (ROOT / "transforms/media/suspects.py").read_text()
    names |= {f"suspect_{kind}" for kind in re.findall(r'^    "(\w+)": \(', suspects, re.MULTILINE)}
    names |= {f"failures_{kind}" for kind in ("data", "memory", "timeout", "crash")}
    names |= {"splits_memory", "splits_data"}
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_every_error_is_described() -> None:
    text = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
    source = "".join(
        path.read_text()
        for room in ("transforms", "pipelines_beam")
        for path in (ROOT / room).rglob("*.py")
    )
    names = re.findall(r"^class ([A-Z]\w+Error)\(", source, re.MULTILINE)
    assert len(names) > 10
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_every_option_is_described() -> None:
    doc = str(TaskTransform.__doc__)
    args = doc[doc.index("Args:") : doc.index("Raises:")]
    said = {
        name
        for names in re.findall(r"^ {6}([\w, ]+):", args, re.MULTILINE)
        for name in names.split(", ")
    }
    taken = inspect.signature(TaskTransform).parameters
    assert set(taken) - said == {"parameters"}


def test_files_that_are_named_exist() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        missing = {name for name in _PATH.findall(text) if not (ROOT / name).exists()}
        assert not missing, path


def test_modules_that_a_contributor_is_sent_to_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for line in text.splitlines():
        room = re.match(r"\| `([\w/]+/)` \|", line)
        if room:
            for name in re.findall(r"`([\w/]+\.py)`", line):
                assert (ROOT / room[1] / name).exists() or (ROOT / name).exists(), (room[1], name)


def test_every_limit_of_media_is_in_the_guide() -> None:
    text = (ROOT / "docs/guide/media.md").read_text(encoding="utf-8")
    table = text[text.index("| `media_limits` | default") :].split("\n\n")[0]
    found: dict[str, str] = {}
    for line in table.splitlines()[2:]:
        names, values = line.split("|")[1:3]
        found |= zip(re.findall(r"`(\w+)`", names), values.strip().split(", "), strict=True)
    limits = {name: f"{value:,.0f}" for name, value in asdict(MediaLimits()).items()}
    assert found == limits
