"""Command line and Python entry points; thin, the only place that prints."""
