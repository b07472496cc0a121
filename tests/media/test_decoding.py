"""Media in lists, chats and assets of examples."""

from __future__ import annotations

from typing import Any

from support.files import saved
from support.pictures import PICTURES

from transforms.media import decoding, image
from transforms.options.media_limits import MediaLimits
from transforms.tasks import TASKS

LIMITS = MediaLimits()


def test_files_in_lists_chats_and_assets() -> None:
    held = bytearray(PNG)
    chat = [{"role": "user", "content": [{"type": "image", "image": held}]}]
    asked = {
        "keypoint-matching": [held, memoryview(PNG)],
        "image-text-to-text": {"text": chat, "images": [held]},
    }
    if "decision" in TASKS:
        asked["decision"] = {"state": "pic", "assets": {"pic": {"data_base64": held}}}
    found: list[Any] = []

    def change(kind: str, value: Any) -> Any:
        found.append(image.decode(value, LIMITS).tobytes())
        return value

    for name, example in asked.items():
        decoding.map_media(example, TASKS[name], change)
    assert found == [PICTURES[0].tobytes()] * (len(found))
    assert len(found) == 4 + ("decision" in TASKS)


PNG = saved(PICTURES[0])
