"""`python -m pipelines_beam` is the command `pipelines-beam`."""

from .cli import main

raise SystemExit(main())
