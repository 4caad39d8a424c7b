"""Write an :class:`~segplug.results.AnalyzeReport` as an HTML page or CSV sheets, and format its cells."""
