"""`python -m branchwise.cli`."""

from . import main

main()
