"""One script per page; what the pages share is in `ui`."""
