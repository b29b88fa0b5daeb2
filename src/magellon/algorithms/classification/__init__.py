"""2D classification: particles become class averages by multi-reference alignment."""
