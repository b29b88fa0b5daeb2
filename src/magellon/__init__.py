"""Magellon: cryo-EM from raw movies to clean, classified particles.

The four ideas are four packages: `magellon.algorithms` (arrays in, arrays out), `magellon.contracts` (what a step
takes and gives), `magellon.backends` (an algorithm joined to a contract) and `magellon.platform` (what runs when, and where).
"""

__version__ = "0.1.0"
