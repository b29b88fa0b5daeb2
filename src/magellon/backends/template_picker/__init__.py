"""`particle_picking/template-picker`: picking by correlation with 2D templates or projections of a map."""
