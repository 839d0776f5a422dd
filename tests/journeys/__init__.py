"""A user's way through the command line and Python, and what bad input is answered with."""
