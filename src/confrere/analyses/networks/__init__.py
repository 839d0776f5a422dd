"""Networks trained over hospitals: only sums of their updates leave."""
