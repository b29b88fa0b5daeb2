"""`magellon up`: the server."""
