"""`python -m potnode`."""

from potnode.cli import main

main()
