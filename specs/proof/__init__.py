"""The proof without bounds: whatever the outbox holds and however many events come, the invariants hold."""
