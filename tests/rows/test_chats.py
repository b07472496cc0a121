"""Strings that hold a chat in another form than plain JSON, and mappings that are nearly one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from transforms.rows.inputs import Inputs
from transforms.tasks import find

CHAT: list[dict[str, Any]] = [{"role": "user", "content": "What's new?"}]
IN_JSON = json.dumps(CHAT)
#: Valid JSON that can only mean this chat.
WRAPPED = {
    "a message": json.dumps(CHAT[0]),
    "messages": json.dumps({"messages": CHAT}),
    "encoded twice": json.dumps(IN_JSON),
    "a byte order mark": "\ufeff" + IN_JSON,
    "a mark and spaces": " \ufeff\n" + IN_JSON,
}
#: Chats that are not valid JSON, or say more than a chat.
BROKEN = {
    "repr": str(CHAT),
    "repr of a tuple": str(tuple(CHAT)),
    "repr of a message": str(CHAT[0]),
    "repr with None": str([{**CHAT[0], "name": None}]),
    "repr of JSON": repr(IN_JSON),
    "a last comma": IN_JSON[:-1] + ",]",
    "last commas and null": '[{"role": "user", "content": null,},]',
    "a request": json.dumps({"model": "m", "messages": CHAT}),
    "a message without content": json.dumps([*CHAT, {"role": "assistant", "tool_calls": []}]),
}
PROMPTS = [
    'What does [{"role": "user", "content": "hi"}] mean?',
    f"{IN_JSON} is a chat. Which role asks for content?",
    '"The role of content", she said',
    '{"title": "role and content", "text": "hi"}',
    '{"role": "admin", "rights": ["content"]}',
    '["role", "content"]',
    "(his role was to check the content)",
    "[role] content \\d",
    '"role, content"',
    "[" * 100_000 + "role content",
    "('role', 'content',)",
    "[" * 500 + '"role content"' + "]" * 500,
    '{"messages":' * 400 + '"role content"' + "}" * 400,
    '[{"content": "a", "id": 1}, {"content": "b", "role_id": 2}]',
    '{"messages": "role and content"}',
    "\x00[role content",
    "['\ud800', 'role content']",
]


@pytest.mark.parametrize("text", (WRAPPED | BROKEN).values(), ids=(WRAPPED | BROKEN).keys())
@pytest.mark.parametrize("single", [False, True])
def test_a_chat_in_any_form_is_refused_with_a_hint(text: str, single: bool) -> None:
    inputs = Inputs(task=find("text-generation"), parameters={}, single=single)
    assert not inputs.is_text(text)
    with pytest.raises(TypeError, match=r"holds a chat in JSON.*json_chats=False as a prompt"):
        inputs.of(text)


@pytest.mark.parametrize("text", WRAPPED.values(), ids=WRAPPED.keys())
def test_a_wrapped_chat_is_taken_where_the_option_says_so(text: str) -> None:
    inputs = Inputs(task=find("text-generation"), parameters={}, single=True, json_chats=True)
    assert inputs.of(text) == CHAT


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_chat_is_refused_where_the_option_takes_chats(text: str) -> None:
    inputs = Inputs(task=find("text-generation"), parameters={}, single=True, json_chats=True)
    with pytest.raises(TypeError, match=r"text .*chat in JSON"):
        inputs.of(text)


@pytest.mark.parametrize("text", [*WRAPPED.values(), *BROKEN.values(), *PROMPTS])
def test_every_string_is_a_prompt_where_the_option_says_so(text: str) -> None:
    inputs = Inputs(task=find("any-to-any"), parameters={}, single=True, json_chats=False)
    assert inputs.of(text) == text


@pytest.mark.parametrize("text", PROMPTS, ids=lambda text: repr(text[:30]))
def test_prompts_that_mention_chats_are_prompts(text: str) -> None:
    assert Inputs(task=find("text-generation"), parameters={}, single=True).of(text) == text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([{"content": "x"}], r"a list of messages with role and content, got list \[\{'content'"),
        (CHAT[0], "a list of messages with role and content, got dict .*put it into a list"),
        ({"messages": CHAT}, "a list of messages with role and content.*give the list alone"),
    ],
)
def test_what_is_nearly_a_chat_says_what_a_chat_is(given: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Inputs(task=find("text-generation"), parameters={}, single=True).of(given)
    if isinstance(given, dict):
        with pytest.raises(TypeError, match=message):
            Inputs(task=find("text-generation"), parameters={}).of(given)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (pd.Series([1, "hi"]), "Series"),
        (np.array([(1, "hi")], dtype=[("id", int), ("text", "U5")])[0], "void"),
    ],
)
def test_an_element_is_called_by_its_own_type(given: Any, kind: str) -> None:
    with pytest.raises(TypeError, match=f"text must be a string, got {kind} "):
        Inputs(task=find("text-classification"), parameters={}).of(given)
