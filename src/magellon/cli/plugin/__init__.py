"""`magellon plugin`: what there is, installing, choosing, and the workers that run it."""
