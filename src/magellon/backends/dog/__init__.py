"""`particle_picking/dog`: reference-free picking by difference of Gaussians."""
