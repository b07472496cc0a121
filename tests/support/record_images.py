"""Record what transformers 4.57 makes of images, for the task that transformers 5 dropped.

    python -m support.record_images    write tests/expected/image-to-image.json

Run in tests/, as record_revived.py, whose copy of transformers 4.57.6 it uses.
"""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from support import record_revived
from support.paths import EXPECTED
from support.pictures import PICTURES

ANSWERS = EXPECTED / "image-to-image.json"

ASK = """
import sys, transformers
assert transformers.__version__ == "4.57.6", transformers.__version__
directory, *pictures = sys.argv[1:]
pipe = transformers.pipeline("image-to-image", model=directory, device=-1)
for picture in pictures:
    pipe(picture).save(picture + ".answer.png")
"""


def main() -> None:
    """Ask in a process of its own, with models and pictures of this one."""
    from support import models

    record_revived.install()
    path = os.pathsep.join([str(record_revived.CACHE), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        directory = models.build("swin2sr", root)
        paths = [str(root / f"{i}.png") for i in range(len(PICTURES))]
        for file, picture in zip(paths, PICTURES, strict=True):
            picture.save(file)
        command = [sys.executable, "-c", ASK, str(directory), *paths]
        subprocess.run(command, check=True, env=environment)
        answers = [Path(f"{file}.answer.png").read_bytes() for file in paths]
    ANSWERS.write_text(json.dumps([base64.b64encode(each).decode() for each in answers], indent=1))


def recorded() -> list[Image.Image]:
    """The answers, one for each of PICTURES."""
    answers = json.loads(ANSWERS.read_text())
    return [Image.open(io.BytesIO(base64.b64decode(answer))) for answer in answers]


if __name__ == "__main__":
    main()
