"""One model replica at work, for all bundles that use it. Knows nothing of transformers."""
