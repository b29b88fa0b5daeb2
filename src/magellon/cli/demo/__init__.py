"""`magellon demo`: simulate a session, process it, compare what came out with the truth."""
