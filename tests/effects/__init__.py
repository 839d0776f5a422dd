"""Treatment effects: a slow twin, coverage in simulations, standard errors against the bootstrap, what is refused."""
