"""One module for each target: its layouts, as tables, and how its variant is read."""
