"""A session as the project of another program: `session_export/relion` and `session_export/cryosparc`."""
