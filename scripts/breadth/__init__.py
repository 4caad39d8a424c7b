"""What segplug takes and gives, as one picture and one table: ``python -m scripts.breadth`` writes both.

They are made of the rows that ``matrix`` measured (``docs/support-matrix``), so that no number is typed.
Nothing but Python's own library is imported: the demo shows both, too.
"""
