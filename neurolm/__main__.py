"""`python -m neurolm` is `neurolm`."""

from neurolm.cli import main

main()
