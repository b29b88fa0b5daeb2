"""Tiles of whole micrographs."""
