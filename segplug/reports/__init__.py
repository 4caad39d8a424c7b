"""What becomes of an :class:`~segplug.results.AnalyzeReport`: sheets, pages, cells of a table."""
