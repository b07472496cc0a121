"""Errors of pipelines, without the libraries that raise them."""


class ModelLoadError(Exception):
    """The model cannot be loaded: no element of the job can be answered."""
