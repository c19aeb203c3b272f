"""Lets the folder be run: `python bench/resume --runs 3`."""

import sys
from pathlib import Path

if not __package__:
    # Run as a folder, Python looks for modules inside of it; ours are named from the folder above.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from resume.command import main

main()
