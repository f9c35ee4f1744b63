#!/usr/bin/env python3
"""Ctrl-C while gf-train or gf-eval evaluates: test_interrupted.py DIRECTORY_OF_THE_TOOLS."""

import json
import pathlib
import re
import signal
import subprocess
import time
import unittest

from test_tools import TINY, TOOLS, ToolTest

# As in TINY: beside busy processes several threads would wait for each other most of the time.
ONE_THREAD = ("--threads", "1")


class InterruptedEvaluations(ToolTest):
    """An epoch is over at once here, an evaluation takes long: Ctrl-C at its begin cuts it short."""

    def setUp(self):
        super().setUp()
        self.write_pairs(train_subset_20k=60, dev=9000, test=9000)
        self.flags = [*TINY, "--task", "snli", "--data", self.dir, "--max-seq-len", 64,
                      "--num-layers", 6]

    def metrics(self, name):
        keys = ("event", "step", "loss", "val_loss", "train_loss", "best", "test_loss", "tokens")
        return [[json.loads(line).get(key) for key in keys]
                for line in (self.dir / name / "metrics.jsonl").read_text().splitlines()]

    def test_a_run_goes_on_bit_equal(self):
        self.succeed("gf-train", *self.flags, "--output-dir", self.dir / "whole")
        part, events = self.dir / "part", []
        # In the evaluation of the first epoch, twice; in that of the second; in the test.
        events += self.interrupt_at("step", *self.flags, "--output-dir", part, run=part)
        events += self.interrupt_at("resume", "--resume", part, *ONE_THREAD, run=part)
        self.assertEqual({line[0] for line in self.metrics("part")}, {"step"})
        # As a crash leaves them behind an evaluation, before what it found is saved.
        with open(part / "metrics.jsonl", "a") as metrics:
            metrics.write(f'{{"event": "validation", "step": {self.metrics("part")[-1][1]}}}\n')
        events += self.interrupt_at("validation", "--resume", part, *ONE_THREAD, run=part)
        self.assertEqual([line[0] for line in self.metrics("part")].count("validation"), 1)
        self.interrupt_at("validation", "--resume", part, *ONE_THREAD, run=part)
        self.assertEqual([line[0] for line in self.metrics("part")].count("validation"), 2)
        self.assertNotIn("validation", events)
        self.assertFalse(json.loads((part / "results.json").read_text())["completed"])
        self.succeed("gf-train", "--resume", part, *ONE_THREAD)
        self.assertTrue(json.loads((part / "results.json").read_text())["completed"])

        for checkpoint in ("last", "best"):
            whole, resumed = ((self.dir / name / f"checkpoints/{checkpoint}.safetensors").read_bytes()
                              for name in ("whole", "part"))
            self.assertEqual(whole, resumed, checkpoint)
        self.assertEqual(self.metrics("whole"), self.metrics("part"))

    def test_gf_eval_ends(self):
        self.succeed("gf-train", *self.flags, "--output-dir", self.dir / "run", "--epochs", 1)
        command = [TOOLS / "gf-eval", "--checkpoint", self.dir / "run", "--data", self.dir,
                   "--output-file", self.dir / "eval.json", *ONE_THREAD, "--batch-size", "1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            status, caught = pathlib.Path(f"/proc/{process.pid}/status"), 0
            while not caught >> signal.SIGINT - 1 & 1:
                self.assertIsNone(process.poll(), "gf-eval never caught SIGINT")
                time.sleep(0.001)
                found = re.search(r"^SigCgt:\s*(\w+)", status.read_text(), re.M)
                caught = int(found[1], 16) if found else 0
            process.send_signal(signal.SIGINT)
            out, errors = process.communicate(timeout=300)
        self.assertEqual((process.returncode, out, errors), (130, b"", b"gf-eval: interrupted\n"))
        self.assertFalse((self.dir / "eval.json").exists())


if __name__ == "__main__":
    unittest.main()
