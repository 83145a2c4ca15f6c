"""The second model, in Promela: written from the design alone, so that it and the TLA+ check each other."""
