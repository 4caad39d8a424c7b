"""Verification: run an artifact and its model on the same inputs, and compare their outputs."""
