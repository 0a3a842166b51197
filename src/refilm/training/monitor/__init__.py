"""What a run reports while it lasts: its record, trackers, sample videos."""
