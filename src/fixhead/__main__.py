"""``python -m fixhead`` is the command line."""

from .cli import main

main()
