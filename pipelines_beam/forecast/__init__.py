"""What a job over files will take, before it runs: a sample is measured, the rest is predicted."""
