"""Engines whose model takes chunks as they come and answers each as it finishes."""
