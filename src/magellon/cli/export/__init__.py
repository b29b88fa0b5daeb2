"""`magellon export`: a session as another program's project."""
