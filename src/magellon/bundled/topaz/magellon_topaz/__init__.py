"""Topaz as backends of Magellon. Topaz is under the GPL: it runs in processes of its own and is never imported."""
