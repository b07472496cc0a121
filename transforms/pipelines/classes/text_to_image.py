"""Images from texts, by the pipelines of diffusers."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import json
import logging
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import huggingface_hub
import numpy as np
import torch
from transformers import PretrainedConfig
from transformers.pipelines.base import Pipeline

from ...options.shown import shown, typed
from ...options.sources import is_uri
from ...options.spec import ModelSpec
from ...options.suggest import unknown
from ...tasks.parameter_checks import condition, number, parameter_checks
from ...tasks.text_checks import Check, check_values, text
from ...weights import headers, object_store
from .. import patches
from ..construction_lock import computing
from ..declared import SelfLoadingPipeline, UnpaddedPipeline

if TYPE_CHECKING:
    from PIL import Image

logger = logging.getLogger(__name__)

#: Pipelines that make every prompt equally long, whatever its batch: the batch changes no image.
#: Others run one prompt at a time, for some of them pad to the longest prompt of a batch.
BATCHES = frozenset(
    {
        "FluxPipeline",
        "PixArtAlphaPipeline",
        "PixArtSigmaPipeline",
        "StableDiffusion3Pipeline",
        "StableDiffusionPipeline",
        "StableDiffusionXLPipeline",
    }
)

#: Keywords of a pipeline's call that are no parameters: they belong to one element or to a stage,
#: or are nothing that can be sent to a worker.
_NO_PARAMETER = re.compile(
    r"^(self|kwargs|generator|output_type|return_dict|(negative_)?prompt(_\d)?)$"
    r"|embeds|latents|image|mask|callback"
)
#: Keywords of pipelines that need more than a text, or make something else than an image.
_OTHER = frozenset(
    {
        "audio_length_in_s",
        "control_image",
        "controlnet_conditioning_scale",
        "mask_image",
        "num_frames",
        "strength",
    }
)
_ANY_SIDE = 1024  # pixels: a multiple of what any pipeline asks for
_OPTIONAL = re.compile(r"^(typing\.)?Optional\[|\]$| \| None$")
_POSITIVE = ("height", "num_inference_steps", "width")
#: Options of transformers' models that a diffusers pipeline does not have.
_NO_OPTIONS = (
    "attn_implementation",
    "device_map",
    "processor",
    "quantization_config",
    "tokenizer",
    "torch_compile",
)
#: Keywords of `from_pretrained` that run code of a repository.
_REMOTE_CODE = ("custom_pipeline", "trust_remote_code")
#: Those that say how to reach the hub.
_HUB = ("cache_dir", "local_files_only")
_INDEX = "model_index.json"


def seed_of(prompt: str, seed: int = 0) -> int:
    """The seed of a prompt's torch.Generator: the same wherever and whenever it is asked for."""
    digest = hashlib.sha256(f"{seed} {prompt}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big")


class TextToImagePipeline(UnpaddedPipeline, SelfLoadingPipeline, Pipeline):  # type: ignore[misc]
    """A pipeline of diffusers in the three stages of transformers' own.

    ```python
    spec = ModelSpec(task="text-to-image", model="stable-diffusion-v1-5/stable-diffusion-v1-5")
    paint = TextToImagePipeline.load(spec)
    paint("a red house by the sea", num_inference_steps=20)  # a Pillow image
    ```

    What it takes is a prompt, or a mapping with a prompt and a negative_prompt. The noise that an
    image is made of depends on the prompt and `seed` alone: it is drawn on the CPU, by a
    generator with the seed `seed_of(prompt, seed)`.

    Args of a call (with their defaults):
      seed: another one gives other images (0).
      Any parameter of the diffusers pipeline's call that is the same for all prompts.

    Raises:
      ModuleNotFoundError: diffusers is not installed.
      ValueError: an option, a parameter's value or a model that cannot be right.
      TypeError: a parameter that the diffusers pipeline does not have.

    """

    def __init__(self, kind: type[Any], diffusion: Any = None, device: Any = None) -> None:
        #: The class of the diffusers pipeline.
        self.kind = kind
        #: The diffusers pipeline; None without weights.
        self.diffusion = diffusion
        super().__init__(_Components(diffusion), task="text-to-image", device=device)

    @classmethod
    def load(cls, spec: ModelSpec) -> Self:
        """The pipeline with its weights on its device."""
        kind = _kind(spec)
        # A pickled checkpoint can run code when it is read: only headers, unless asked for.
        keywords = {"use_safetensors": True, **spec.model_kwargs}
        # Before anything is constructed: while it is, other models have to wait.
        folder = _source(spec, weights=True)
        if not os.path.isdir(folder):
            folder = kind.download(folder, revision=spec.revision, **keywords)
        dtype = _dtype(spec, folder)
        patches.install_in_diffusers()
        # diffusers replaces torch's initialisers and default dtype for the whole process.
        with contextlib.ExitStack() as stack:
            stack.enter_context(computing.constructing())
            if dtype != torch.get_default_dtype():
                stack.enter_context(computing.excluded())
            diffusion = kind.from_pretrained(folder, **{**_lean(), **keywords, "dtype": dtype})
        diffusion.set_progress_bar_config(disable=True)
        return cls(kind, diffusion, spec.device)

    @classmethod
    def weightless(cls, spec: ModelSpec) -> Self:
        """The pipeline for the stages around the model: it knows the parameters, no more."""
        return cls(_kind(spec), device=torch.device("meta"))

    @property
    def can_batch(self) -> bool:
        """Whether prompts share a batch; diffusers pads them, to a length of its own."""
        return self.kind.__name__ in BATCHES

    def numbers_made(self, parameters: Mapping[str, Any]) -> int:
        """How many numbers an image made with these parameters has."""
        side = self._usual_side()
        return 3 * (parameters.get("height") or side) * (parameters.get("width") or side)

    def _usual_side(self) -> int:
        pipe = self.diffusion
        denoiser = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
        config = getattr(denoiser, "config", None)
        found = getattr(pipe, "default_sample_size", None) or getattr(config, "sample_size", None)
        latents = int(np.max(found or 128))  # as most of those have that do not say
        return latents * int(getattr(pipe, "vae_scale_factor", 8))

    def _sanitize_parameters(
        self, seed: int | None = None, **parameters: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        taken = inspect.signature(self.kind.__call__).parameters
        valid = {"seed", *(name for name in taken if not _NO_PARAMETER.search(name))}
        for name in parameters:
            if name not in valid:
                raise TypeError(f"{self.kind.__name__}: {unknown('parameter', name, valid)}")
        given = {name: value for name, value in parameters.items() if value is not None}
        for name, value in given.items():
            if name in _POSITIVE and (not _is_integer(value) or value < 1):
                raise ValueError(f"{name} must be a positive integer, got {shown(value)}")
        defaults = {name: taken[name].default for name in given}
        checks = parameter_checks(defaults, of_transformers=False)
        check_values({**_annotated(taken), **checks}, {}, given)
        self._check_size(given)
        if seed is not None and not _is_integer(seed):
            raise ValueError(f"seed must be an integer, got {shown(seed)}")
        return {} if seed is None else {"seed": seed}, given, {}

    def _check_size(self, given: Mapping[str, Any]) -> None:
        """Raises ValueError for a height or width that the diffusers pipeline refuses."""
        sizes = {name: given.get(name, _ANY_SIDE) for name in ("height", "width")}
        check = getattr(self.kind, "check_inputs", None)
        if check is None or not sizes.keys() & given.keys():
            return
        taken = list(inspect.signature(check).parameters.values())[1:]
        missing = {each.name: None for each in taken if each.default is each.empty}
        try:
            # Without its models: a rule that depends on them is left to the workers.
            check(object.__new__(self.kind), **{**missing, "prompt": "a", **sizes})
        except ValueError as error:
            if all(f"`{name}`" in str(error) for name in sizes):
                raise
        except Exception as error:
            logger.debug("the size cannot be checked from here: %s", error)

    def preprocess(self, inputs: str | Mapping[str, Any], seed: int = 0) -> dict[str, Any]:
        """The texts as they are, and the seed: diffusers tokenizes within its call."""
        texts = {"prompt": inputs} if isinstance(inputs, str) else inputs
        features = {"prompt": texts["prompt"], "seed": seed_of(texts["prompt"], seed)}
        if (negative := texts.get("negative_prompt")) is not None:
            if "negative_prompt" not in inspect.signature(self.kind.__call__).parameters:
                raise ValueError(f"{self.kind.__name__} takes no negative_prompt")
            features["negative_prompt"] = negative
        return features

    def _forward(self, model_inputs: Mapping[str, Any], **parameters: Any) -> dict[str, Any]:
        """The images of one prompt or of a list of them, (rows, height, width, 3) uint8."""
        rows = {k: v if isinstance(v, list) else [v] for k, v in model_inputs.items()}
        generators = [torch.Generator().manual_seed(seed) for seed in rows.pop("seed")]
        made = self.diffusion(**rows, generator=generators, output_type="pil", **parameters)
        return {"image": torch.from_numpy(np.stack([np.asarray(each) for each in made.images]))}

    def postprocess(self, model_outputs: Mapping[str, Any]) -> Image.Image:
        """The image."""
        from PIL import Image

        return Image.fromarray(model_outputs["image"][0].numpy())


class _Components(torch.nn.Module):
    """All models of a diffusers pipeline as the one model that a transformers pipeline has."""

    input_modalities = ("text",)

    def __init__(self, diffusion: Any) -> None:
        super().__init__()
        self.config = PretrainedConfig()
        found = {} if diffusion is None else diffusion.components
        self.models = torch.nn.ModuleDict(
            {name: each for name, each in found.items() if isinstance(each, torch.nn.Module)}
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are; "meta" if there are none."""
        return next((each.device for each in self.parameters()), torch.device("meta"))

    def can_generate(self) -> bool:
        """Whether it answers token by token."""
        return False


def _kind(spec: ModelSpec) -> type[Any]:
    """The class of the diffusers pipeline that a model's repository names."""
    if importlib.util.find_spec("diffusers") is None:
        raise ModuleNotFoundError(
            "text-to-image needs diffusers: pip install 'pipelines-beam[diffusers]'"
        )
    _check_options(spec)
    diffusers: Any = importlib.import_module("diffusers")
    name = _index(spec).get("_class_name")
    found = getattr(diffusers, name, None) if isinstance(name, str) else None
    if not isinstance(found, type) or not issubclass(found, diffusers.DiffusionPipeline):
        raise ValueError(f"diffusers {diffusers.__version__} has no pipeline {name!r}")
    taken = inspect.signature(found.__call__).parameters.keys()
    if not {"prompt", "generator", "output_type"} <= taken or _OTHER & taken:
        raise ValueError(f"{name} does not make images of texts alone")
    return found


def _source(spec: ModelSpec, weights: bool) -> str:
    """The model as diffusers takes it: a hub id, or a directory of this machine."""
    return object_store.directory(spec.source, weights) if is_uri(spec.source) else spec.source


def _index(spec: ModelSpec) -> dict[str, Any]:
    """What a repository says of its pipeline: its class and its parts."""
    source = _source(spec, weights=False)
    path = os.path.join(source, _INDEX)
    if not os.path.isdir(source):
        options = {name: spec.model_kwargs[name] for name in _HUB if name in spec.model_kwargs}
        path = huggingface_hub.hf_hub_download(source, _INDEX, revision=spec.revision, **options)
    elif not os.path.isfile(path):
        raise FileNotFoundError(f"it has no {_INDEX}: it is no model for diffusers")
    with open(path, encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
    return found


def _check_options(spec: ModelSpec) -> None:
    for name in _NO_OPTIONS:
        if getattr(spec, name) not in (None, False):
            raise ValueError(f"text-to-image has no {name}, got {shown(getattr(spec, name))}")
    asked = [name for name in _REMOTE_CODE if name in spec.model_kwargs]
    if asked or spec.trust_remote_code:
        name = f"model_kwargs[{asked[0]!r}]" if asked else "trust_remote_code"
        raise ValueError(f"text-to-image runs no code of a model's repository: leave out {name}")


def _integer(name: str, value: Any) -> None:
    if not _is_integer(value):
        raise TypeError(f"{name} must be an integer, got {typed(value)}")


#: Checks by the type of an annotation.
_OF_TYPES: Mapping[str, Check] = {
    "bool": condition,
    "float": number,
    "int": _integer,
    "str": text,
}


def _annotated(taken: Mapping[str, inspect.Parameter]) -> dict[str, Check]:
    """The checks of keywords whose annotation is one plain type, or that or None."""
    kinds = {each.name: inspect.formatannotation(each.annotation) for each in taken.values()}
    plain = {name: _OPTIONAL.sub("", kind.strip("'")) for name, kind in kinds.items()}
    return {name: _OF_TYPES[kind] for name, kind in plain.items() if kind in _OF_TYPES}


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _dtype(spec: ModelSpec, folder: str) -> torch.dtype:
    """The dtype asked for, or the one in which the model that removes the noise is saved."""
    if spec.dtype != "auto":
        found: torch.dtype = getattr(torch, spec.dtype)
        return found
    variant = spec.model_kwargs.get("variant")
    for name in ("unet", "transformer"):
        for path in headers.files(os.path.join(folder, name)):
            file = os.path.basename(path)  # diffusion_pytorch_model.VARIANT-00001-of-00002.…
            if f".{variant}" in file if variant else file.count(".") == 1:
                return headers.dtype_in(path)
    return torch.float32


def _lean() -> dict[str, Any]:
    """Less memory while loading, where diffusers can; it complains where it cannot."""
    return {"low_cpu_mem_usage": importlib.util.find_spec("accelerate") is not None}
