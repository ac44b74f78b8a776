"""`python -m adapters.cli` is `daybook`."""

from adapters.cli import main

if __name__ == "__main__":
    main()
