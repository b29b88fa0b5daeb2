"""Squares and holes of a grid: from a picture of any magnification to targets.

A small network looks at the picture at several scales; what it sees is gathered here into squares or holes of one size, on
one lattice where there is one.
"""
