"""The name of a job's runner."""

from __future__ import annotations

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

_SUFFIX = "Runner"
_KNOWN = {
    each.lower(): each + _SUFFIX
    for each in ("Dataflow", "Direct", "Flink", "FnApi", "Portable", "Prism", "SwitchingDirect")
}


def runner_name(options: PipelineOptions) -> str:
    """The name of its class: Beam also takes `flink`, `flinkrunner`, or it with its module."""
    name = str(options.view_as(StandardOptions).runner).rpartition(".")[2]
    return _KNOWN.get(name.lower().removesuffix(_SUFFIX.lower()), name)
