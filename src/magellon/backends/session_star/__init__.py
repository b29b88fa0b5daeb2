"""The files of a session as RELION writes them: `session_star/relion`."""
