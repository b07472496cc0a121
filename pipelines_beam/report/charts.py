"""Plots as SVG that a page takes in: text is text, and colours are those of the page."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

#: What matplotlib draws with, and the variables of page.css that take its place.
_ACCENT, _SOFT, _LINE, _MUTED = "#010203", "#010204", "#010205", "#010206"
_COLOURS = {
    _ACCENT: "var(--accent)",
    _SOFT: "var(--soft)",
    _LINE: "var(--line)",
    _MUTED: "var(--muted)",
}
#: Inches and points: the page shows one of them, by its width.
_WIDE, _NARROW = (7.6, 2.5), (3.7, 2.3)
_FEWEST = 5  # places for bars
_FONT = re.compile(r"font: [^;\"]*?([\d.]+)px[^;\"]*")
_FAMILY = re.compile(r"font-family: [^;\"]*;? ?")
_ID = re.compile(r'(id="|url\(#|href="#)')
_EMPTY = re.compile(r"<(?:metadata>.*?</metadata>|!--.*?--)>|<\?xml.*?\?>|<!DOCTYPE.*?>", re.DOTALL)


class ChartsError(ImportError):
    """The charting library is not installed."""


def check() -> None:
    """Raises ChartsError where the charting library is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ChartsError(
            "the charts of a report need matplotlib: pip install 'pipelines-beam[report]'"
        ) from error


def throughput(samples: Sequence[tuple[float, int]]) -> Markup:
    """Rows done over time."""

    def draw(axes: Any) -> None:
        unit, divisor = _unit(samples[-1][0])
        times, rows = [0.0, *(t / divisor for t, _ in samples)], [0, *(n for _, n in samples)]
        axes.fill_between(times, rows, color=_SOFT, linewidth=0)
        axes.plot(times, rows, color=_ACCENT, linewidth=1.8)
        axes.set_xlim(0, max(times[-1], 1e-6))
        axes.set_ylim(0, max(rows[-1] * 1.08, 1))
        axes.set_xlabel(unit)
        axes.set_ylabel("rows done")
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.yaxis.set_major_formatter("{x:,.0f}")

    seconds, count = samples[-1]
    return _both(draw, "throughput", f"Rows done over time: {count:,} after {seconds:,.1f} seconds")


def _unit(longest: float) -> tuple[str, int]:
    """In what a time is shown, and how many seconds that has."""
    units = (("seconds", 1), ("minutes", 60), ("hours", 3600))
    return next((each for each in reversed(units) if longest >= 2 * each[1]), units[0])


def batch_sizes(batches: Mapping[str, int]) -> Markup:
    """How many batches had which size."""

    def draw(axes: Any) -> None:
        names = [size_range(int(size)) for size in batches]
        axes.bar(names, list(batches.values()), color=_ACCENT, width=0.7)
        spare = max(0, _FEWEST - len(names)) / 2  # few bars are no wider than many
        axes.set_xlim(-0.6 - spare, len(names) - 0.4 + spare)
        axes.set_xlabel("rows in a batch")
        axes.set_ylabel("batches")
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.tick_params(axis="x", labelrotation=40 if len(names) > 6 else 0)

    largest = max(batches, key=batches.__getitem__)
    return _both(draw, "batches", f"Sizes of batches: most have {size_range(int(largest))} rows")


def size_range(least: int) -> str:
    """What a class of batch sizes is called, by its smallest."""
    return "1" if least == 1 else f"{least} to {2 * least - 1}"


def _both(draw: Any, name: str, alt: str) -> Markup:
    """A plot for wide pages, and one for narrow ones; which of them is shown the page's CSS says.

    Nothing of the data is in them but numbers, so they need no escaping.
    """
    shown = (
        f'<div class="{kind}">{_svg(draw, size, f"{name}-{kind}", alt)}</div>'
        for kind, size in (("wide", _WIDE), ("narrow", _NARROW))
    )
    return Markup("".join(shown))  # noqa: S704


def _svg(draw: Any, size: tuple[float, float], name: str, alt: str) -> str:
    check()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 9, "axes.labelsize": 9}
    with mpl.rc_context(style):
        figure = Figure(size, layout="constrained")
        axes = figure.subplots()
        draw(axes)
        _quiet(axes)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _of_page(file.getvalue(), name, alt)


def _quiet(axes: Any) -> None:
    """Lines that help to read values, and nothing else."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)
    axes.grid(axis="y", color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=_MUTED, pad=5)
    axes.xaxis.label.set_color(_MUTED)
    axes.yaxis.label.set_color(_MUTED)


def _of_page(svg: str, name: str, alt: str) -> str:
    """The SVG element with the page's colours and font, and with ids of its own."""
    svg = _EMPTY.sub("", svg)
    for drawn, variable in _COLOURS.items():
        svg = svg.replace(drawn, variable)
    svg = _FAMILY.sub("", _FONT.sub(r"font-size: \1px", svg))
    svg = _ID.sub(rf"\g<1>{name}-", svg)
    return svg.strip().replace("<svg ", f'<svg role="img" aria-label="{alt}" ', 1)
