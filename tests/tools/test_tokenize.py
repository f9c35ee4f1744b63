#!/usr/bin/env python3
"""gf-tokenize as a user meets it: test_tokenize.py DIRECTORY_OF_THE_TOOLS."""

import os
import pathlib
import subprocess
import unittest

from test_tools import TEXT, TOOLS, ToolTest

DATA = next((d for d in (os.environ.get("GF_DATA_DIR"), "data")
             if d and pathlib.Path(d, "gpt2/vocab.json").exists()), None)


class Tokenizing(ToolTest):
    def test_whole_input_and_lines(self):
        text = "ab\n\nc\0é".encode()
        byte = ["gf-tokenize", "--tokenizer", "byte"]
        self.assertEqual(self.succeed(*byte, stdin=text), b"97 98 10 10 99 0 195 169\n")
        self.assertEqual(self.succeed(*byte, "--lines", stdin=text), b"97 98\n\n99 0 195 169\n")
        self.assertEqual(self.succeed(*byte, "--lines", stdin=b"a\n"), b"97\n")
        self.assertEqual(self.succeed(*byte, "--lines"), b"")
        self.assertEqual(self.succeed(*byte), b"\n")

    def test_decode_reverses(self):
        text = bytes(range(256)) * 1000
        byte = ["gf-tokenize", "--tokenizer", "byte"]
        ids = self.succeed(*byte, stdin=text)
        self.assertEqual(self.succeed(*byte, "--decode", stdin=ids), text)
        lines = b"one\n\nthree"
        ids = self.succeed(*byte, "--lines", stdin=lines)
        self.assertEqual(self.succeed(*byte, "--decode", "--lines", stdin=ids), lines + b"\n")

    def test_bad_input_names_the_line(self):
        byte = ["gf-tokenize", "--tokenizer", "byte"]
        self.fail_with(1, "line 2: .*not '256'", *byte, "--decode", stdin=b"1 2\n3 256\n")
        self.fail_with(1, "line 1: .*not 'x1'", *byte, "--decode", stdin=b"x1")
        self.fail_with(1, "line 2: expected two texts", *byte, "--pair", stdin=b"a\tb\nc\n")
        self.fail_with(1, "line 1: expected two texts", *byte, "--pair", stdin=b"a\tb\tc\n")
        self.fail_with(1, "vocab.txt.*bert.*fetch-data.sh", "gf-tokenize", "--tokenizer", "bert",
                       "--data", self.dir, cwd="/", env={})

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full")
    def test_a_full_disk(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([TOOLS / "gf-tokenize", "--tokenizer", "byte"], input=b"x" * 100000,
                                  stdout=full, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"No space left", done.stderr)

    @unittest.skipUnless(DATA, "no vocabularies in $GF_DATA_DIR or data/")
    def test_published_vocabularies(self):
        bert = ["gf-tokenize", "--tokenizer", "bert", "--data", DATA]
        self.assertEqual(self.succeed(*bert, stdin=b"Hello"), b"101 7592 102\n")
        self.assertEqual(self.succeed(*bert, "--no-special", stdin=b"Hello"), b"7592\n")
        self.assertEqual(self.succeed(*bert, "--pair", stdin=b"a man\ta person\n"),
                         b"101 1037 2158 102 1037 2711 102\n")
        gpt2 = ["gf-tokenize", "--tokenizer", "gpt2", "--data", DATA]
        self.assertEqual(self.succeed(*gpt2, stdin=b"Hello world"), b"15496 995\n")
        text = "Zwölf Boxkämpfer\n\tjagen \xff".encode("latin-1") + TEXT.encode()
        ids = self.succeed(*gpt2, stdin=text)
        self.assertEqual(self.succeed(*gpt2, "--decode", stdin=ids), text)


if __name__ == "__main__":
    unittest.main()
