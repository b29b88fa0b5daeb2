"""Particle extraction with our own code: `particle_extraction/stack-maker`."""
