"""``load_dataset datasets``: tables that the library ``datasets`` of Hugging Face leaves on disk."""
