"""`magellon doctor`: what this machine has, what it lacks, and what that means."""
