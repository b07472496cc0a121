"""transformers' pipelines: built, loaded, and cut into stages."""
