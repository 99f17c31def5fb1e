"""What the screens share: state, cached loading, forms, and how things are shown."""
