"""Ask every hospital, move no patient: statistics over hospitals whose records stay where they are."""
