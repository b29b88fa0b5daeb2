"""Squares and holes of a grid, found by small networks that learned from simulated grids."""
