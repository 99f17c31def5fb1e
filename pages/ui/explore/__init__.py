"""Parts of the Explore page, by what is explored."""
