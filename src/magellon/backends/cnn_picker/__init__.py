"""`particle_picking/cnn` and `picker_training/cnn`: picking with a small network that a session can teach."""
