#!/usr/bin/env python3
"""grassflow.h as an older and as a newer version of it would be.

Usage: resize_header.py older|newer HEADER OUTPUT

older: every struct lacks its last field. newer: every struct ends with one that no version has.
"""

import sys
from pathlib import Path

from header import resized

CHANGES = {
    "older": lambda body: body.rstrip().rstrip(";").rpartition(";")[0] + ";",
    "newer": lambda body: body + "\n  int64_t later;",
}


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in CHANGES:
        sys.exit(__doc__)
    output = Path(sys.argv[3])
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(resized(Path(sys.argv[2]).read_text(), CHANGES[sys.argv[1]]))


main()
