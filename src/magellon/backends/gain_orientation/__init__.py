"""The orientation of gain references."""
