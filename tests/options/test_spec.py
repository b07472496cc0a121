"""What to run: options that cannot be right are refused."""

from __future__ import annotations

import pytest

from transforms.options.spec import ModelSpec


@pytest.mark.parametrize("name", ["token", "use_auth_token"])
def test_secrets_are_not_taken_as_options(name: str) -> None:
    with pytest.raises(ValueError, match=f"model_kwargs: {name} would be kept in files") as found:
        ModelSpec(task="fill-mask", source="organisation/name", model_kwargs={name: "hf_secret"})
    assert "HF_TOKEN" in str(found.value)
    assert "hf_secret" not in str(found.value)
