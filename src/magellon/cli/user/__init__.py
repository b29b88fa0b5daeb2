"""`magellon user`: who may use this home."""
