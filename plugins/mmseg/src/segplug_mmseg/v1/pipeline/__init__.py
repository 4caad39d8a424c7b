"""The test pipeline of a config of mmsegmentation 1.x, as plain data."""
