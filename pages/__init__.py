"""One script per screen. What they share is in `pages.ui`."""
