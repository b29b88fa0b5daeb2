"""2D classification with our own code: `two_d_classification/can-classifier`."""
