"""Files in, arrays or records out: one module per format.

Header readers (`mrc_header`, `tiff_header`, `star`) load no numpy. Every reader raises `magellon.errors.BadInput` with the
file's name for whatever is wrong with the file, and every writer puts a complete file in place at once.
"""
