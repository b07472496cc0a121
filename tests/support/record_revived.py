"""Record what transformers 4.57 answers for the tasks that transformers 5 dropped.

    python -m support.record_revived           write tests/expected/revived.json
    python -m support.record_revived --check   compare with it; exit 1 where an answer differs

Both are run in tests/. Installs transformers 4.57.6 beside this environment, which lends it torch,
and asks it in a process of its own. The models are those of support/models, built by this
environment, which needs sentencepiece for one of them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from support import recorded_cases
from support.paths import ROOT, TESTS

VERSION = "4.57.6"
PACKAGES = (f"transformers=={VERSION}", "tokenizers==0.22.2", "huggingface_hub==0.36.2")
CACHE = ROOT / ".cache" / f"transformers-{VERSION}"


def main() -> int:
    """Record or compare; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--answer", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer:
        answer(*map(Path, options.answer))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        found = ask(Path(temporary))
    if options.check:
        return compare(found, json.loads(recorded_cases.ANSWERS.read_text(encoding="utf-8")))
    recorded_cases.ANSWERS.parent.mkdir(exist_ok=True)
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    recorded_cases.ANSWERS.write_text(text, encoding="utf-8")
    print(f"{len(found)} answers written to {recorded_cases.ANSWERS}")
    return 0


def install() -> None:
    """Bring transformers 4.57 into the cache, without what this environment already has."""
    if (CACHE / "complete").exists():
        return
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
    subprocess.run([*pip, "--target", CACHE, *PACKAGES], check=True)
    (CACHE / "complete").touch()


def ask(root: Path) -> list[dict[str, Any]]:
    """Every question with transformers 4.57's answer."""
    from support import models  # imports transformers, of which the other process has its own

    install()
    asked: list[dict[str, Any]] = [
        {"model": str(recorded_cases.directory(case, root, models.build)), "question": question}
        for case, question in recorded_cases.questions_to_ask()
    ]
    questions, answers = root / "questions.json", root / "answers.json"
    questions.write_text(json.dumps(asked), encoding="utf-8")
    path = os.pathsep.join([str(CACHE), os.environ.get("PYTHONPATH", "")])
    # One thread: the order in which numbers are added up does not depend on the machine's cores.
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "support.record_revived",
        "--answer",
        str(questions),
        str(answers),
    ]
    subprocess.run(command, check=True, env=environment, cwd=TESTS)
    results = json.loads(answers.read_text(encoding="utf-8"))
    return [
        {**one["question"], "expected": result} for one, result in zip(asked, results, strict=True)
    ]


def answer(questions: Path, answers: Path) -> None:
    """Answer the questions of one file in another: runs where transformers is 4.57."""
    import transformers  # see ask()

    if transformers.__version__ != VERSION:
        raise SystemExit(f"transformers must be {VERSION} here, got {transformers.__version__}")
    transformers.logging.set_verbosity_error()
    results = []
    built: tuple[str, Any] = ("", None)
    for asked in json.loads(questions.read_text(encoding="utf-8")):
        question, model = asked["question"], asked["model"]
        constructor = question.get("constructor", {})
        key = json.dumps([model, question["task"], constructor])
        if key != built[0]:
            pipe = transformers.pipeline(question["task"], model=model, device=-1, **constructor)
            built = (key, pipe)
        try:
            result = built[1](
                recorded_cases.ready(question["input"]), **question.get("parameters", {})
            )
        except Exception as error:
            error.add_note(f"asked: {question}")
            raise
        results.append(recorded_cases.plain(result))
    answers.write_text(json.dumps(results), encoding="utf-8")


def compare(found: list[dict[str, Any]], recorded: list[dict[str, Any]]) -> int:
    """Print where answers differ from the recorded ones; 1 if any do."""
    wrong = abs(len(found) - len(recorded))
    if wrong:
        print(f"{len(found)} questions are asked, {len(recorded)} are recorded")
    for i, (new, old) in enumerate(zip(found, recorded, strict=False)):
        different = recorded_cases.difference(new, json.loads(json.dumps(old)))
        if different:
            wrong += 1
            print(f"{i}: {old['task']} {old['model']} {old.get('parameters', {})}{different}")
    print(f"{wrong} of {len(found)} answers differ from {recorded_cases.ANSWERS.name}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
