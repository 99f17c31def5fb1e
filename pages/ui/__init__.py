"""What the screens share, and in a folder for each subject their parts: state, cached loading, how things are shown."""
