"""Images of a hospital: whole slides and pictures become rows of numbers beside its tables. They stay there."""
