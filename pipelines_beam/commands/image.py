"""`pipelines-beam image NAME`: the Dockerfile of an image for workers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .messages import quiet
from .options import refuse
from .statuses import DONE, REFUSED


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command; returns its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "image",
        help="write a Dockerfile for workers",
        description="Write the Dockerfile of an image for workers, with the versions of Python, "
        "Beam, this package, torch and transformers that are here; print the commands that build "
        "and push it.",
        allow_abbrev=False,
    )
    parser.add_argument("image", help="the image's name: registry.example.com/me/name:tag")
    parser.add_argument(
        "--output", default="Dockerfile", metavar="FILE", help="where it is written: ./Dockerfile"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    parser.add_argument("--wheel", help="this package as a file; without it, pip downloads it")
    parser.add_argument("--extras", default="", help="extras of this package, such as vision,audio")
    parser.add_argument(
        "--cuda",
        nargs="?",
        const=True,
        metavar="BASE",
        help="for GPUs: NVIDIA's image with CUDA as the base, or --cuda=BASE, an Ubuntu with it",
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        help="a model that the image has: an id of the hub, with @revision, or a directory",
    )
    return parser


def run(options: argparse.Namespace, rest: list[str], parser: argparse.ArgumentParser) -> int:
    """Write the file; returns the exit status."""
    refuse(rest, parser)
    quiet(verbose=False)
    from .. import image

    file = Path(options.output)
    try:
        made = image.Image(
            name=options.image,
            folder=file.parent,
            base=image.CUDA if options.cuda is True else options.cuda,
            wheel=options.wheel,
            extras=[each for each in options.extras.split(",") if each],
            models=options.model,
        )
        text = made.text()
        with file.open("w" if options.overwrite else "x", encoding="utf-8") as target:
            target.write(text)
    except image.ImageError as error:
        print(error, file=sys.stderr)
        return REFUSED
    except FileExistsError:
        print(f"{file} exists: --overwrite replaces it", file=sys.stderr)
        return REFUSED
    except OSError as error:
        print(f"{file} cannot be written: {error.strerror or error}", file=sys.stderr)
        return REFUSED
    print(f"{file} is written. Build and push it, and run jobs with it:")
    print(*made.commands(file), sep="\n")
    print(f"pipelines-beam run … --sdk_container_image={made.name}")
    return DONE
