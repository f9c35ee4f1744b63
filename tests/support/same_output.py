#!/usr/bin/env python3
"""Programs that have to print the same.

Usage: same_output.py [--scratch-file] PROGRAM PROGRAM...

Runs each with no argument, or with the name of a file that it may write, and compares what they
print, byte by byte, with what the first prints. Exit status 1 if one fails or differs.
"""

import difflib
import subprocess
import sys
import tempfile
from pathlib import Path


def output(program, with_file):
    with tempfile.TemporaryDirectory() as directory:
        arguments = [str(Path(directory) / "file")] if with_file else []
        run = subprocess.run([program, *arguments], stdout=subprocess.PIPE, text=True)
    if run.returncode != 0:
        sys.exit(f"{program}: exit status {run.returncode}\n{run.stdout}")
    if not run.stdout:
        sys.exit(f"{program}: printed nothing")
    return run.stdout.splitlines()


def main():
    with_file = sys.argv[1:2] == ["--scratch-file"]
    first, *others = sys.argv[1 + with_file:] or sys.exit(__doc__)
    wanted = output(first, with_file)
    differs = False
    for program in others:
        lines = list(difflib.unified_diff(wanted, output(program, with_file), first, program,
                                          lineterm=""))
        differs |= bool(lines)
        print("\n".join(lines) or f"{program}: the same {len(wanted)} lines as {first}")
    sys.exit(differs)


main()
