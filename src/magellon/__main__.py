"""`python -m magellon` is `magellon`."""

from magellon.cli import main

if __name__ == "__main__":
    main()
