"""The map of the Explore page."""
