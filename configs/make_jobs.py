"""Write the jobs of one task each: what `pipelines-beam new TASK` prints, with its own name.

python configs/make_jobs.py
"""

from pathlib import Path

from pipelines_beam import new_job

#: The task of each file, and its model, where that is not the task's default.
JOBS = {
    "sentiment.yaml": ("text-classification", None),
    "images.yaml": ("image-classification", None),
    "speech.yaml": ("automatic-speech-recognition", "openai/whisper-tiny.en"),
    "video.yaml": ("video-classification", None),
    "questions.yaml": ("visual-question-answering", None),
    "text_to_image.yaml": ("text-to-image", None),
}


def text(name: str) -> str:
    """The content of a file."""
    task, model = JOBS[name]
    return new_job.text(task, model, f"configs/{name}")


if __name__ == "__main__":
    for each in JOBS:
        (Path(__file__).parent / each).write_text(text(each), encoding="utf-8")
