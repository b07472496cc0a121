"""An engine in a process of its own, and how worker processes reach it."""
