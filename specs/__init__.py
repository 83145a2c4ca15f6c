"""The design, checked: models for TLC, a proof without bounds, mutants of the table. README.md says how to run each."""
