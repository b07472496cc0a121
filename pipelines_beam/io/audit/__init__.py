"""Some rows of a job once more, each alone and in float32: how far the job's answers are from it."""
