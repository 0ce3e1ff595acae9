"""`python -m visus` is the command `visus`."""

from visus.cli import main

main()
