"""How the networks in the backends were trained: `python -m training.NAME`, on simulated data, on one CPU thread."""
