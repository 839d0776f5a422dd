"""Models that learn across hospitals: trees, penalised regression, networks."""
