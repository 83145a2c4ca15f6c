"""The rules: what a connection is, what may happen to it, and what must follow. Knows no socket, no clock, no logging."""
