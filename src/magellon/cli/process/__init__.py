"""`magellon process`: a session folder to its end, in the foreground."""
