"""What becomes of an :class:`~segplug.requests.AnalyzeReport`: sheets, pages, cells of a table."""
