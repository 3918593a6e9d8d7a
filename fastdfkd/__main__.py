"""`python -m fastdfkd`, and the `fastdfkd` command."""

from fastdfkd.cli import main

if __name__ == "__main__":
    main()
