"""Features to batches and back: which chunks may share one, and what computes it."""
