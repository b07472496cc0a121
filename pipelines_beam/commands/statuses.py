"""The exit statuses of the command line, explained in `pipelines-beam run --help`."""

DONE, FAILED, REFUSED, ROWS_FAILED, STOPPED = 0, 1, 2, 3, 130
