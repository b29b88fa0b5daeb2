"""Time, memory and accuracy of each step against known truth, with peer programs beside it where they are installed."""
