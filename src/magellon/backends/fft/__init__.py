"""Power-spectrum pictures."""
