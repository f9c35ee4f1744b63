#!/usr/bin/env python3
"""gf-study as a user meets it, and the event files: test_study.py DIRECTORY_OF_THE_TOOLS."""

import json
import pathlib
import re
import signal
import subprocess
import time
import unittest

import event_files
from test_tools import TOOLS, ToolTest

TINY = ("--model-dim 8 --num-heads 2 --reduced-dim 4 --ff-dim 16 --windows 1,2 --batch-size 32 "
        "--warmup-steps 2 --lr 1e-2 --max-steps").split()
STUDY = "--preset demo --task sample --max-seq-len 64 --num-layers 2 --threads 1".split()
NAMES = ["transformer_sample_L64_N2", "grassmann_sample_L64_N2", "grassmann_sample_L64_N2_per-layer",
         "grassmann+_sample_L64_N2"]


class StudyTest(ToolTest):
    def setUp(self):
        super().setUp()
        self.study = self.dir / "study"

    def command(self, *arguments, steps=20):
        return ["gf-study", *STUDY, "--output-dir", self.study, *arguments, "--", *TINY, steps]

    def results(self, name):
        return json.loads((self.study / name / "results.json").read_text())


class Study(StudyTest):
    def test_a_study_and_its_files(self):
        out = self.succeed(*self.command("--jobs", 2, "--seeds", 2, "--commit", "abc")).decode()
        names = [f"{name}_s{seed}" for name in NAMES for seed in (0, 1)]
        self.assertIn("8 of 8 done", out)
        self.assertNotIn("\x1b", out)  # no terminal: no control sequences
        record = json.loads((self.study / "study.json").read_text())
        self.assertEqual([run["name"] for run in record["runs"]], names)
        self.assertEqual((record["commit"], record["sessions"][0]["jobs"]), ("abc", 2))
        self.assertGreater(record["seconds"], 0)
        self.assertRegex(record["device"], "^cpu")
        for name in names:
            self.assertRegex(out, rf"(?m)^{re.escape(name)} +done +1/4 ")
            results = self.results(name)
            self.assertTrue(results["completed"])
            self.assertEqual(results["config"]["seed"], int(name[-1]))
            for split, key in (("validation", "best_val_loss"), ("test", "test_loss")):
                file = self.study / name / f"sample_{split}_results.json"
                self.assertAlmostEqual(json.loads(file.read_text())["loss"], results[key], delta=1e-6)
            self.assertIn("perplexity", (self.study / name / "log.txt").read_text())

    def test_what_is_done_is_not_done_again(self):
        self.succeed(*self.command("--model", "transformer", "--mode", "train"))
        run = self.study / NAMES[0]
        results = run / "results.json"
        before = results.stat().st_mtime_ns
        self.assertFalse(list(run.glob("*_test_results.json")))
        self.succeed(*self.command("--model", "transformer"))  # evaluates
        self.assertTrue((run / "sample_test_results.json").exists())
        self.succeed(*self.command("--model", "grassmann"))  # two runs more
        self.assertEqual(results.stat().st_mtime_ns, before)
        record = json.loads((self.study / "study.json").read_text())
        self.assertEqual([run["name"] for run in record["runs"]], NAMES[:3])
        self.assertEqual(len(record["sessions"]), 3)

        # Half a file is none: the run's last part is done again, to the same end.
        whole = json.loads(results.read_text())
        results.write_text(results.read_text()[:100])
        self.succeed("gf-study", "--continue", self.study)
        self.assertEqual(json.loads(results.read_text())["test_loss"], whole["test_loss"])
        self.fail_with(2, f"{NAMES[0]} with other options.*--max-steps 20.*--max-steps 21",
                       *self.command(steps=21))

    def test_an_interrupted_study_goes_on_bit_equal(self):
        steps = 300
        command = [TOOLS / self.command()[0], *map(str, self.command("--jobs", 2, steps=steps)[1:])]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            metrics = self.study / NAMES[0] / "metrics.jsonl"
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and not (metrics.exists() and metrics.read_text()):
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            out, errors = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 130, (out, errors))
        self.assertIn(f"--continue {self.study}".encode(), errors)
        self.assertIn(b"interrupted", out)
        self.assertFalse(self.results_or_none(NAMES[0]).get("completed", False))

        out = self.succeed("gf-study", "--continue", self.study).decode()
        self.assertIn("4 of 4 done", out)
        self.succeed("gf-train", "--preset", "demo", "--model", "transformer", "--max-seq-len", 64,
                     "--num-layers", 2, *TINY, steps, "--output-dir", self.dir / "whole")
        whole, resumed = ((path / "checkpoints/last.safetensors").read_bytes()
                          for path in (self.dir / "whole", self.study / NAMES[0]))
        self.assertEqual(whole, resumed)

    def results_or_none(self, name):
        return self.results(name) if (self.study / name / "results.json").exists() else {}

    def test_a_failed_run_is_named_and_the_others_go_on(self):
        checkpoint = self.study / NAMES[1] / "checkpoints/last.safetensors"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.write_bytes(b"half a checkpoint")
        (self.study / NAMES[1] / "config.json").write_text('{"preset"')
        process = subprocess.run([TOOLS / "gf-study", *map(str, self.command()[1:])],
                                 capture_output=True, timeout=300)
        errors = process.stderr.decode()
        self.assertEqual(process.returncode, 1, errors)
        self.assertRegex(errors, f"(?m)^{NAMES[1]} failed: gf-train: .*config.json is damaged")
        self.assertIn(f"--continue {self.study}", errors)
        self.assertRegex(process.stdout.decode(), rf"(?m)^{NAMES[1]} +FAILED")
        self.assertIn(b"3 of 4 done, 1 failed", process.stdout)

    def test_mistakes_and_damage(self):
        self.fail_with(2, "--jobs: expected a whole number from 0 to 64, not 'x'",
                       *self.command("--jobs", "x"))
        self.fail_with(2, "--task: expected sample or sample-pairs, not 'wiki'", *self.command("--task", "wiki"))
        self.fail_with(2, "--num-layers: expected whole numbers", *self.command("--num-layers", "6,"))
        self.fail_with(2, "--continue takes", "gf-study", "--continue", "--model", "transformer")
        self.fail_with(2, "outputs/ holds no study", "gf-study", "--continue", cwd=self.dir)
        self.fail_with(2, "study.json does not exist", "gf-study", "--continue", self.dir)
        done = subprocess.run([TOOLS / "gf-study", *map(str, self.command()[1:]), "--nonsense"],
                              capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"gf-train: unknown option --nonsense", done.stderr)
        self.assertFalse(self.study.exists())
        self.study.mkdir()
        (self.study / "study.json").write_text('{"version": "0.1.0", "runs"')
        self.fail_with(1, "study.json is damaged", *self.command())

    def test_dry_run_lists_the_studys_runs(self):
        out = self.succeed("gf-study", "--dry-run", "--output-dir", "D").decode().splitlines()
        self.assertEqual(len(out), 2 * 2 * 4 + 4)
        self.assertEqual(out[2], "gf-train --preset study --task wikitext --model grassmann "
                         "--max-seq-len 128 --num-layers 6 --window-schedule per-layer --seed 0 "
                         "--output-dir D/grassmann_wikitext_L128_N6_per-layer")
        self.assertEqual([line.split("/")[-1] for line in out[-4:]],
                         ["transformer_snli_L128_N6", "grassmann_snli_L128_N6",
                          "grassmann_snli_L128_N6_per-layer", "grassmann+_snli_L128_N6"])

    def test_ablations(self):
        def planned(*arguments):
            lines = self.succeed("gf-study", *arguments, "--dry-run", "--output-dir", "D").decode()
            words = [line.split() for line in lines.splitlines()]
            return {line[-1].removeprefix("D/"): line[1:-2] for line in words}

        without, runs = planned(), planned("--ablations")
        self.assertEqual(len(runs), len(without) + 9)
        windows = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]
        published = [1, 2, 4, 8, 12, 16]
        expected = {f"window-{offset}": [[offset], 1, 32, "mean"] for offset in published}
        expected |= {"learned": [published, 1, 32, "learned"],
                     "learned_12-windows": [windows, 1, 32, "learned"],
                     "learned_4-heads": [published, 4, 16, "learned"]}
        for name, mixer in expected.items():
            flags = runs.pop("grassmann_wikitext_L128_N6_" + name)
            config = json.loads(self.succeed("gf-train", *flags, "--dry-run", "--json"))["config"]
            self.assertEqual([config[key] for key in ("model", "max_seq_len", "num_layers", "windows",
                                                      "grassmann_heads", "reduced_dim",
                                                      "window_weights")],
                             ["grassmann", 128, 6, *mixer])
        self.assertEqual(runs, without)
        few = planned("--ablations", "--model", "transformer", "--max-seq-len", "256,128",
                      "--num-layers", 12, "--task", "wikitext", "--seeds", 2)
        self.assertEqual(len(few), 2 * 2 + 9 * 2)
        self.assertIn("grassmann_wikitext_L256_N12_window-16_s1", few)
        self.fail_with(2, "--ablations are of language models, but --task snli", "gf-study",
                       "--task", "snli", "--ablations")
        self.fail_with(2, "--continue takes", "gf-study", "--continue", "--ablations")


class Speedrun(ToolTest):
    def test_mistakes_end_before_anything_begins(self):
        script = pathlib.Path(__file__).resolve().parents[2] / "speedrun.sh"
        for arguments, code, message in (
                (["--help"], 0, r"Usage: \./speedrun\.sh"),
                (["rnn"], 2, "Usage"),
                (["all", "wikitext", "both", "more"], 2, "Usage"),
                (["--sedes", "3"], 2, r"speedrun.sh: unknown option --sedes"),
                (["all", "--seeds"], 2, r"speedrun.sh: --seeds: expected a value"),
                (["all", "--continue", "D"], 2, "--continue takes"),
                (["grassmann+", "--seeds"], 2, "--seeds: expected a value"),
                (["--continue", "D", "--ablations"], 2, "--ablations adds runs"),
                (["all", "all", "eval", "--ablations"], 2, "--ablations adds runs"),
                (["all", "snli", "--ablations"], 2, "--ablations are of language models"),
        ):
            with self.subTest(arguments):
                done = subprocess.run([script, *arguments], capture_output=True, timeout=60)
                self.assertEqual(done.returncode, code)
                self.assertRegex((done.stdout + done.stderr).decode(), message)


class Events(StudyTest):
    def test_events_are_the_metrics(self):
        self.train("run")
        (file,) = (self.dir / "run").glob("events.out.tfevents.*")
        first, start, *events = event_files.events(file)
        self.assertEqual(first["version"], "brain.Event:2")
        self.assertEqual((start["status"], start["step"]), (1, 1))
        metrics = [json.loads(line)
                   for line in (self.dir / "run/metrics.jsonl").read_text().splitlines()]
        self.assertEqual(len(events), len(metrics))
        names = {"step": "train", "validation": "validation", "test": "test"}
        for event, line in zip(events, metrics):
            self.assertEqual(event["step"], line["step"])
            self.assertAlmostEqual(event["wall_time"], time.time(), delta=600)
            for tag, value in event["scalars"].items():
                group, key = tag.split("/")
                self.assertEqual(group, names[line["event"]])
                self.assertAlmostEqual(value, line[key], delta=1e-6 * abs(line[key]) + 1e-12)
        self.assertIn("train/gradient_norm", events[0]["scalars"])
        self.assertIn("validation/val_loss", events[-2]["scalars"])
        with self.assertRaises(ValueError):
            list(event_files.records(file.read_bytes()[:-1] + b"x"))

    def test_a_resumed_run_has_a_second_file(self):
        run = self.interrupt("run")
        self.succeed("gf-train", "--resume", run)
        first, second = ([*event_files.events(file)]
                         for file in sorted(run.glob("events.out.tfevents.*")))
        # From this step on, the one after the checkpoint, TensorBoard drops what stands before.
        self.assertEqual(second[1]["status"], 1)
        self.assertGreater(second[1]["step"], first[-1]["step"])
        self.assertLessEqual(second[1]["step"], second[2]["step"])
        metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        steps = [event["step"] for event in first[2:] + second[2:]]
        self.assertEqual(steps, [line["step"] for line in metrics])
        try:
            from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        except ImportError:
            return
        accumulator = EventAccumulator(str(run)).Reload()
        self.assertEqual([(e.step, round(e.value, 4)) for e in accumulator.Scalars("train/loss")],
                         [(line["step"], round(line["loss"], 4)) for line in metrics
                          if line["event"] == "step"])


if __name__ == "__main__":
    unittest.main()
