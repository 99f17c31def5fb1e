"""Parts of the Pool page."""
