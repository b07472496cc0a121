"""Elements to examples of a task, and inferences to rows."""
