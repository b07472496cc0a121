"""Where a job runs: files of Beam's options for `--on`, and what each runner needs, checked."""
