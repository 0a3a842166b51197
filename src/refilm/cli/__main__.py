"""`python -m refilm.cli`, for launchers that start modules, such as `torchrun`."""

from refilm.cli import main

main()
