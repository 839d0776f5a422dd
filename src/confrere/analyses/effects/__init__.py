"""Treatment effects: one file per matter, `effect` the method that studies name."""
