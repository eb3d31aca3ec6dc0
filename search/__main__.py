"""`python -m search` is the `lookalike` command."""

from search.cli import main

if __name__ == "__main__":
    main()
