"""What a message costs, here and elsewhere: `python -m benchmarks` and `python -m benchmarks.instructions`."""
