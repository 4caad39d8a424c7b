"""Find installed plugins, load and check them one by one, call their hooks; formats of files."""
