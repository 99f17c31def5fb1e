"""The command line: `python -m core COMMAND`."""

from core.cli.app import app

if __name__ == "__main__":
    app()
