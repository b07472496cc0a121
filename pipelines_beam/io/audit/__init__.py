"""Some rows of a job once more, alone and in float32: how far its answers are from that."""
