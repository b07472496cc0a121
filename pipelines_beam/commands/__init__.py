"""The commands of `pipelines-beam`, each in a file of its own: its parser, and what it does."""
