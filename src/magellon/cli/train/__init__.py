"""`magellon train`: networks learn what a session shows."""
