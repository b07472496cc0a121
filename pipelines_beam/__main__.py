"""`python -m pipelines_beam` is the command `pipelines-beam`."""

from pipelines_beam.cli import main

raise SystemExit(main())
