"""How a hospital's records become people: sources and tables."""
