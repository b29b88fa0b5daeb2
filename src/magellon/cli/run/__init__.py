"""`magellon run`: one step on plain files, with no server and no bus."""
