#!/usr/bin/env python3
"""The rules of the source tree, checked.

Usage: check_tree.py RULE SOURCE_DIR LIBRARY

RULE is one of: includes, exports, calls, lengths, operations, documents. LIBRARY is libgrassflow.so. Prints one
line per violation; exit status 1 if there is any.
"""

import re
import subprocess
import sys
from pathlib import Path

# Who may include whom, besides its own area; every area may include grassflow.h, whose status codes
# and enumerators hold throughout. Nobody includes cpu or cuda: they implement ops.h and device.h.
INCLUDES = {
    "base": [],
    "math.h": [],
    "ops.h": ["base", "math.h"],
    "device.h": ["base", "ops.h"],
    "cuda_library": ["base", "device.h"],
    "arena": ["base", "device.h"],
    "cpu": ["base", "math.h", "ops.h", "device.h"],
    "cuda": ["base", "math.h", "ops.h", "device.h", "cuda_library"],
    "text": ["base"],
    "io": ["base"],
    "data": ["base", "math.h", "text"],
    "model": ["base", "arena", "math.h", "ops.h", "device.h"],
    "train": ["base", "arena", "math.h", "ops.h", "device.h", "model", "data", "io", "text"],
    "api": ["base", "arena", "math.h", "ops.h", "device.h", "model", "data", "io", "text", "train"],
}

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
LONG_FILES = {"include/grassflow.h"}  # the manual

SOURCES = (".h", ".hpp", ".c", ".cc", ".cu", ".cuh", ".py", ".sh", ".rs", ".go")

# What the READMEs show of each binding, here as it is compiled and run.
QUICK_EXAMPLES = {
    "cpp": "examples/quick.cc",
    "rust": "grassflow/examples/quick.rs",
    "go": "examples/quick/main.go",
    "python": "examples/quick.py",
}


class Tree:
    def __init__(self, root, library):
        self.root = Path(root)
        self.library = library

    def files(self, *directories, suffixes=(".h", ".cc", ".cu", ".cuh")):
        """(path from the root, text) of the source files below the directories."""
        for directory in directories:
            for path in sorted((self.root / directory).rglob("*")):
                if path.suffix in suffixes and path.is_file():
                    yield path.relative_to(self.root).as_posix(), path.read_text()


def lines_of_code(text):
    """(number, line) with comments and string literals blanked."""
    blank = lambda match: re.sub(r"[^\n]", " ", match[0])
    text = re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)
    return enumerate(text.split("\n"), 1)


def area(path):
    """The area of a path from src: "base/arena.h" is of arena, which knows devices; else the top."""
    match = re.match(r"base/(arena)\.|(cuda_library)\.", path)
    return match[1] or match[2] if match else path.split("/")[0]


def includes(tree):
    for path, text in tree.files("src", "cuda"):
        own = area(path.removeprefix("src/"))
        allowed = INCLUDES.get(own)
        if allowed is None:
            yield f"{path}: no rule says what the area {own} may include"
            continue
        for number, line in enumerate(text.split("\n"), 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match or own == "cuda" and (tree.root / "cuda" / match[1]).exists():
                continue
            if area(match[1]) not in [own, "grassflow.h", "build_id.h", *allowed]:
                yield f"{path}:{number}: {own} must not include {match[1]}"
    for path, text in tree.files("tools", "bindings", "examples", suffixes=(".h", ".hpp", ".c", ".cc")):
        for number, line in enumerate(text.split("\n"), 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if match and not (tree.root / path).parent.joinpath(match[1]).exists():
                yield f"{path}:{number}: only <grassflow.h> is for users, not {match[1]}"


def exports(tree):
    library = tree.library
    symbols = subprocess.run(["nm", "-D", "--defined-only", library], check=True, text=True,
                             capture_output=True).stdout.split("\n")
    names = [line.split()[-1].split("@")[0] for line in symbols if line]
    for name in names:
        if not name.startswith("gf_") and name != "GF_0":
            yield f"{library}: exports {name}"
    header = (tree.root / "include/grassflow.h").read_text()
    for name in re.findall(r"\bGF_API\b[^;]*?\b(gf_\w+)\(", header):
        if name not in names:
            yield f"{library}: does not export {name}, which grassflow.h declares"


def calls(tree):
    ends_or_prints = re.compile(r"\b(abort|_?exit|_Exit|quick_exit|terminate|assert|v?[dfs]?printf|"
                                r"f?puts|f?putc|putchar|perror)\s*\(|\bstd::(cout|cerr|clog)\b")
    for path, text in tree.files("src", "cuda"):
        for number, line in lines_of_code(text):
            match = ends_or_prints.search(line)
            if match:
                yield f"{path}:{number}: the library neither ends the process nor prints: {match[0]}"


def functions(text):
    """(first line, number of lines) of functions, as clang-format lays them out: from a declaration
    at the indentation of a namespace or a class to its closing brace at the same one."""
    no_function = re.compile(r" *(namespace|template|struct|class|enum|union|typedef|extern|.*\bconst(expr)?\b.*=)")
    start = end = None
    for number, line in lines_of_code(text):
        line = line.rstrip()
        if end:
            if line in (end, end + ";"):
                yield start, number - start + 1
                start = end = None
            continue
        if start is None and re.match(r" {0,2}[^\s}#]", line) and not no_function.match(line):
            start = number
            closing = re.match(" *", line)[0] + "}"
        if start and line.endswith("{"):
            end = closing
        elif line.endswith((";", "}", ":")):
            start = None


def lengths(tree):
    directories = ("include", "src", "cuda", "bindings", "tools", "tests", "examples")
    for path, text in tree.files(*directories, suffixes=SOURCES):
        count = text.count("\n")
        if count > MAX_FILE_LINES and path not in LONG_FILES:
            yield f"{path}: {count} lines, of {MAX_FILE_LINES} at most"
        if path.endswith((".h", ".hpp", ".c", ".cc", ".cu", ".cuh")):
            for number, length in functions(text):
                if length > MAX_FUNCTION_LINES:
                    yield f"{path}:{number}: function of {length} lines, of {MAX_FUNCTION_LINES} at most"


def operations(tree):
    declared = (tree.root / "src/ops.h").read_text()
    tests = "\n".join(text for _, text in tree.files("tests/ops"))
    names = re.findall(r"virtual void (\w+)\((?!\))", declared)  # without operands: no operation
    if not names:
        yield "src/ops.h: no operation found"
    for directory, owner in (("src/cpu", "CpuOps"), ("cuda", "CudaOps")):
        files = dict(tree.files(directory))
        for name in names:
            homes = [path for path, text in files.items()
                     for _ in re.findall(rf"^void {owner}::{name}\(", text, flags=re.M)]
            if len(homes) != 1:
                yield f"src/ops.h: {name} is to be defined once in {directory}, not in {homes}"
    for name in names:
        if not re.search(rf"(\.|->){name}\(", tests):
            yield f"src/ops.h: no test in tests/ops calls {name}"


def documents(tree):
    """READMEs show the examples that are compiled and run; what a page links to is there."""
    shown = [("README.md", "examples/quick.c")]
    for language, example in QUICK_EXAMPLES.items():
        for page in ("README.md", f"bindings/{language}/README.md"):
            shown.append((page, f"bindings/{language}/{example}"))
    for page, example in shown:
        if (tree.root / example).read_text() not in (tree.root / page).read_text():
            yield f"{page}: does not show {example} as it is"
    pages = [tree.root.glob("*.md"), tree.root.glob("docs/**/*.md"), tree.root.glob("bindings/*/*.md")]
    for page in [page for group in pages for page in group]:
        prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
        for link in re.findall(r"\]\((?!@)([^)#:]+)\)", prose):
            if not (page.parent / link).exists():
                yield f"{page.relative_to(tree.root)}: links to {link}, which is not there"


RULES = [includes, exports, calls, lengths, operations, documents]


def main():
    rules = {rule.__name__: rule for rule in RULES}
    if len(sys.argv) != 4 or sys.argv[1] not in rules:
        sys.exit(__doc__)
    violations = list(rules[sys.argv[1]](Tree(*sys.argv[2:])))
    print("\n".join(violations))
    sys.exit(1 if violations else 0)


main()
