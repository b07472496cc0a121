"""Pipeline classes where transformers has none, or none that answers in batches."""
