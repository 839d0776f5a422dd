"""One file per method: frozen dataclasses whose flows see sums alone."""
