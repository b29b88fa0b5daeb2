"""The science as a plain library: arrays in, arrays out, no files and no platform.

Arrays are torch tensors, images float32 of shape (..., height, width); the device is the input's. Lengths are in Å unless a
name ends in `_px`.
"""
