"""Elements to the inputs of a task, and predictions to rows."""
