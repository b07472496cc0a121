"""Hub repositories at the commit that they are at now, so that every worker loads the same one."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import replace
from typing import Any

import huggingface_hub

from ..options.causes import causes
from ..options.sources import is_local, is_uri
from ..options.spec import ModelSpec

logger = logging.getLogger(__name__)

_COMMIT = re.compile(r"[0-9a-f]{40}")
_TIMEOUT = 10.0  # seconds
_OUT_OF_REACH = frozenset(
    {
        *("LocalEntryNotFoundError", "OfflineModeIsEnabled"),
        *("ConnectionError", "ConnectError", "ConnectTimeout", "ReadTimeout"),
    }
)
#: Files that no tokenizer or processor needs.
_NOT_BESIDE = ["*.safetensors", "*.bin", "*.h5", "*.msgpack", "*.onnx", "*.gguf", "*.pt", "*.ot"]


def pinned(spec: ModelSpec) -> ModelSpec:
    """The same model with commits in place of branches and tags, as far as the hub can be asked.

    Where it cannot, a commit in the cache counts; where there is none, a warning says that the
    workers may load another.
    """
    changed: dict[str, Any] = {}
    if is_hub_id(spec.source):
        changed["revision"] = _commit(spec.source, spec.revision)
    for name in ("tokenizer", "processor"):
        source = getattr(spec, name)
        if source is None or not is_hub_id(source):
            continue
        repository, revision = split(source)
        if repository == spec.source and revision is None:
            commit = changed["revision"]
        else:
            commit = _commit(repository, revision)
        changed[name] = f"{repository}@{commit}" if commit else repository
    return replace(spec, **changed)


def split(source: str) -> tuple[str, str | None]:
    """The repository and the revision in "organisation/name@revision"."""
    repository, _, revision = source.partition("@")
    return repository, revision or None


def beside(source: str) -> str:
    """The local directory of a tokenizer or processor in another repository than the model.

    transformers would look for the model's revision there.
    """
    repository, revision = split(source)
    return huggingface_hub.snapshot_download(
        repository, revision=revision, ignore_patterns=_NOT_BESIDE
    )


def out_of_reach(error: BaseException) -> bool:
    """Whether the hub could not be asked, rather than having said no."""
    return any(
        type(cause).__name__ in _OUT_OF_REACH
        or getattr(getattr(cause, "response", None), "status_code", 0) >= 500
        for cause in causes(error)
    )


def is_hub_id(source: str) -> bool:
    """Whether a model source is neither a URI nor a local path: a repository of the hub."""
    return not is_uri(source) and not is_local(source)


def _commit(repository: str, revision: str | None) -> str | None:
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    try:
        found = huggingface_hub.HfApi().model_info(
            repository, revision=revision, timeout=_TIMEOUT, files_metadata=False
        )
    except Exception as error:
        return _commit_in_cache(repository, revision, error)
    names = {file.rfilename for file in found.siblings or ()}
    if "adapter_config.json" in names and "config.json" not in names:
        logger.warning("%s is an adapter: which commit is loaded is not pinned", repository)
        return revision  # transformers looks for its base model by the same revision
    return found.sha


def _commit_in_cache(repository: str, revision: str | None, error: Exception) -> str | None:
    if not out_of_reach(error):
        return revision  # loading it says what is wrong
    for name in ("config.json", "tokenizer_config.json", "preprocessor_config.json"):
        path = huggingface_hub.try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(path, str):
            return os.path.basename(os.path.dirname(path))
    logger.warning(
        "the hub is out of reach: workers load %s as it is then, not as it is now", repository
    )
    return revision
