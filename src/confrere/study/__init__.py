"""What a researcher writes: the study file, the schema of its table, formulas."""
