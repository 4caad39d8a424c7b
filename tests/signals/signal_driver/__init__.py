"""Ends commands with a signal at chosen points of their work, and checks what they leave.

A point is the number of an event that Python's audit hooks see: an import, a file that is opened, renamed or
removed. So a command is ended at the same point each time, and also between any two of its changes of files.
"""
