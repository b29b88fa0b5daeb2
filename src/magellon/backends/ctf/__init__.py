"""CTF estimation with Magellon's own fit."""
