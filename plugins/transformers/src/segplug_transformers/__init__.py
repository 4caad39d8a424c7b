"""Segmentation models of transformers, from the folders that ``save_pretrained`` writes.

Importing this package does not import PyTorch or transformers.
"""
