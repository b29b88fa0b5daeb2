"""`magellon import`."""
