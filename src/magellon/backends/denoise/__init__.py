"""`denoise`: our own network for micrographs, with its weights."""
