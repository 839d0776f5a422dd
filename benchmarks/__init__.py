"""What the README's performance table is made from: `python -m benchmarks`. See README.md of this folder."""
