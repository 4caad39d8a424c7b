"""What is installed, and how it is called: entry points, plugins loaded one by one, formats of files."""
