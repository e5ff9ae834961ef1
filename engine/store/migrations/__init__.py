"""The schema's history, one file a step. A published step is never edited."""
