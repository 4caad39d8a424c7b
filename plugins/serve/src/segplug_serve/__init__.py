"""A small HTTP server for one model, and a server as an engine."""
