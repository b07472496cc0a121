"""The error of this room."""


class RunnerError(ValueError):
    """What a runner needs is missing: a line for each, with what to do."""
