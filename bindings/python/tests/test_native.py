"""The declarations of _native.py against the installed grassflow.h."""

import ctypes
import os
import pathlib
import re
import subprocess
import sys
import unittest

from grassflow import _errors, _native

HEADER = pathlib.Path(
    subprocess.run(["pkg-config", "--variable=includedir", "grassflow"], check=True, text=True,
                   capture_output=True).stdout.strip(), "grassflow.h").read_text()
CODE = re.sub(r"/\*.*?\*/", " ", HEADER, flags=re.S)

VALUES = {
    "int": ctypes.c_int,
    "size_t": ctypes.c_size_t,
    "int32_t": ctypes.c_int32,
    "uint32_t": ctypes.c_uint32,
    "int64_t": ctypes.c_int64,
    "uint64_t": ctypes.c_uint64,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
    "char": ctypes.c_char,
}
SNLI = {**{name: i for i, name in enumerate(_native.SNLI_CLASSES)},
        "classes": len(_native.SNLI_CLASSES)}
FUNCTION_POINTER = re.compile(r"gf_\w+_fn$")


def constant(name):
    return int(re.search(rf"#define {name} (\d+)", CODE)[1])


def struct_of(c_name):
    name = "".join(word.capitalize() for word in c_name.removeprefix("gf_").split("_"))
    return getattr(_native, name, None)


def type_of(c_type):
    """The ctypes type that _native.py has for a type of the header."""
    c_type = re.sub(r"\bconst\b|\s", "", c_type)
    if c_type == "void":
        return None
    if c_type == "char*":
        return ctypes.c_char_p
    if c_type == "void*" or FUNCTION_POINTER.match(c_type):
        return ctypes.c_void_p
    if c_type.endswith("**"):
        return _native.Out
    if c_type == "float*":
        return _native.Floats
    if c_type.endswith("*"):
        target = c_type[:-1]
        if target in VALUES:
            return ctypes.POINTER(VALUES[target])
        return ctypes.POINTER(struct_of(target)) if struct_of(target) else ctypes.c_void_p
    return VALUES.get(c_type, ctypes.c_int)  # what is left are enumerations


def prototypes():
    """name: (what it returns, what it takes) of the header's functions."""
    for result, name, parameters in re.findall(
            r"GF_API\s+([\w\s*]+?)\b(gf_\w+)\(([^)]*)\);", CODE):
        types = [p.rsplit(" ", 1) for p in re.split(r"\s*,\s*", " ".join(parameters.split()))]
        yield name, (type_of(result), [type_of(t[0] + "*" * t[-1].count("*"))
                                       for t in types if t[0] != "void"]), types


class Declarations(unittest.TestCase):
    def test_functions(self):
        seen = set()
        for name, (result, arguments), types in prototypes():
            seen.add(name)
            with self.subTest(name):
                self.assertIn(name, {*_native.FUNCTIONS, "gf_status_name",
                                     "gf_model_config_parameter"})
                if name not in _native.FUNCTIONS:
                    continue
                # int32_t* is an array of ids where its name says so.
                arguments = [_native.Ids if t[-1].strip("*") in ("ids", "lengths", "labels")
                             else argument
                             for t, argument in zip(types, arguments)]
                self.assertEqual(_native.FUNCTIONS[name], (result, arguments))
        self.assertLessEqual(set(_native.FUNCTIONS), seen)

    def test_structs(self):
        structs = re.findall(r"typedef struct (gf_\w+) \{(.*?)\}", CODE, flags=re.S)
        self.assertGreater(len(structs), 5)
        for name, body in structs:
            expected = []
            for declaration in body.split(";")[:-1]:
                c_type, field, sizes = re.fullmatch(
                    r"\s*(.*?[\s*])(\w+)((?:\[\w+\])*)", declaration, flags=re.S).groups()
                field_type = type_of(c_type)
                for size in reversed(re.findall(r"\w+", sizes)):
                    field_type *= int(size) if size.isdigit() else constant(size)
                expected.append((field, field_type))
            with self.subTest(name):
                self.assertEqual(struct_of(name)._fields_, expected)

    def test_numbers(self):
        self.assertEqual(constant("GF_VERSION"), _native.VERSION)
        self.assertEqual(constant("GF_MAX_WINDOWS"), _native.GF_MAX_WINDOWS)
        self.assertEqual(constant("GF_MAX_NAME"), _native.GF_MAX_NAME)
        self.assertEqual(constant("GF_MAX_CLASSES"), _native.GF_MAX_CLASSES)
        statuses = {name: int(value) for name, value in re.findall(r"X\((GF_\w+), (-?\d+),", CODE)}
        for name in ("GF_OK", "GF_CANCELLED", "GF_END"):
            self.assertEqual(statuses[name], getattr(_native, name))
        raised = {s for s in statuses.values() if s < 0} | {_native.GF_CANCELLED}
        self.assertEqual(raised, set(_errors.BY_STATUS))
        for prefix, choices in (("GF_TEXT_", _native.TEXT_FORMATS), ("GF_MIXER_", _native.MIXERS),
                                ("GF_WINDOWS_", _native.WINDOW_SCHEDULES),
                                ("GF_WINDOW_WEIGHTS_", _native.WINDOW_WEIGHTS),
                                ("GF_SCHEDULE_", _native.SCHEDULES),
                                ("GF_SNLI_", SNLI)):
            numbers = {name.lower().replace("_", "-"): int(value) for name, value
                       in re.findall(rf"\b{prefix}(\w+) = (\d+)\b", CODE)}
            self.assertEqual(numbers, choices)


class Loading(unittest.TestCase):
    def test_a_library_that_is_none_is_named(self):
        for name in ("/nowhere/libgrassflow.so.0", "libc.so.6"):
            done = subprocess.run([sys.executable, "-c", "import grassflow"], text=True,
                                  capture_output=True,
                                  env={**os.environ, "GRASSFLOW_LIBRARY": name})
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stderr, f"ImportError: .*{name}")


if __name__ == "__main__":
    unittest.main()
