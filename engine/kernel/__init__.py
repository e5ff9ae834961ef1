"""What to do next: pure decisions over one state, with the time passed in. No clock, disk, socket or process."""
