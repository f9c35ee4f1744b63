#!/usr/bin/env python3
"""gf-report as a user meets it: test_report.py DIRECTORY_OF_THE_TOOLS."""

import json
import os
import pathlib
import shlex
import shutil
import statistics
import struct
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree

from test_study import NAMES, STUDY, TINY
from test_tools import TOOLS, ToolTest


class ReportTest(ToolTest):
    @classmethod
    def setUpClass(cls):
        """A study of three seeds, as gf-study makes it; each test has a copy."""
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.made = pathlib.Path(scratch.name, "study")
        done = subprocess.run([TOOLS / "gf-study", *STUDY, "--seeds", "3", "--output-dir", cls.made,
                               "--", *TINY, "12"], capture_output=True, timeout=300)
        if done.returncode:
            raise AssertionError(done.stderr.decode())

    def setUp(self):
        super().setUp()
        self.study = self.dir / "study"
        shutil.copytree(self.made, self.study)

    def report(self, *directories):
        out = self.succeed("gf-report", *(directories or [self.study]), "--output",
                           self.dir / "report").decode()
        self.text = (self.dir / "report/report.md").read_text()
        self.summary = json.loads((self.dir / "report/best_results_summary.json").read_text())
        return out

    def values(self, name, key):
        return [json.loads((self.study / f"{name}_s{seed}/results.json").read_text())[key]
                for seed in range(3)]


class Tables(ReportTest):
    def assert_statistic(self, found, values):
        self.assertEqual(found["n"], len(values))
        self.assertAlmostEqual(found["mean"], statistics.mean(values), places=9)
        self.assertAlmostEqual(found["standard_deviation"], statistics.stdev(values), places=9)

    def test_means_spreads_and_gaps(self):
        out = self.report()
        self.assertEqual(len(self.summary["results"]), 4)
        self.assertEqual(self.summary["missing"], [])
        self.assertNotIn("missing", out)
        reference = self.values(NAMES[0], "best_val_perplexity")
        for name, row in zip(NAMES, self.summary["results"]):
            values = self.values(name, "best_val_perplexity")
            self.assert_statistic(row["best_validation_perplexity"], values)
            self.assert_statistic(row["test_perplexity"], self.values(name, "test_perplexity"))
            self.assertEqual([run["name"] for run in row["runs"]], [f"{name}_s{s}" for s in range(3)])
            if name == NAMES[0]:
                self.assertIsNone(row["validation_gap_percent"])
                continue
            gaps = [100 * (value / of_transformer - 1)
                    for value, of_transformer in zip(values, reference)]
            self.assert_statistic(row["validation_gap_percent"], gaps)
            shown = f"{statistics.mean(gaps):+.1f} ± {statistics.stdev(gaps):.1f} %"
            self.assertIn(shown, out)
            self.assertIn(shown, self.text)
        self.assertIn("| Grassmann, one window per layer | 64 | 2 | 3 |", self.text)
        self.assertIn("| Grassmann+ | 64 | 2 | 3 |", self.text)
        self.assertNotIn("ablations", self.summary)
        self.assertNotIn("Which windows", self.text)
        record = json.loads((self.study / "study.json").read_text())
        self.assertIn(f"{record['seconds']:.1f} s", self.text)

    def test_missing_unfinished_and_damaged_runs(self):
        shutil.rmtree(self.study / f"{NAMES[1]}_s0")
        (self.study / f"{NAMES[1]}_s1/results.json").write_text('{"config"')
        unfinished = self.study / f"{NAMES[2]}_s2"
        results = json.loads((unfinished / "results.json").read_text())
        results["completed"] = False
        (unfinished / "results.json").write_text(json.dumps(results))
        out = self.report()
        missing = {run["name"]: run for run in self.summary["missing"]}
        self.assertEqual(sorted(missing), sorted([f"{NAMES[1]}_s0", f"{NAMES[1]}_s1",
                                                  f"{NAMES[2]}_s2"]))
        self.assertEqual(missing[f"{NAMES[1]}_s0"]["why"], "not begun")
        self.assertRegex(missing[f"{NAMES[1]}_s1"]["why"], "results.json is damaged: ")
        self.assertEqual(missing[f"{NAMES[2]}_s2"]["why"], "stopped in epoch 1 of 4")
        self.assertEqual(missing[f"{NAMES[2]}_s2"]["command"], f"gf-train --resume {unfinished}")
        for run in missing.values():
            self.assertIn(run["command"], self.text)
            self.assertIn(run["command"], out)
        rows = {(row["model"], row["window_schedule"]): row for row in self.summary["results"]}
        self.assertEqual(rows["grassmann", "all"]["validation_gap_percent"]["n"], 1)
        self.assertEqual(rows["grassmann", "per-layer"]["validation_gap_percent"]["n"], 2)

        # The commands make what is missing.
        for run in missing.values():
            tool, *arguments = shlex.split(run["command"])
            self.succeed(tool, *arguments)
        self.report()
        self.assertEqual(self.summary["missing"], [])

    def test_runs_without_a_study(self):
        (self.study / "study.json").unlink()
        for path in self.study.glob("*_s[12]"):
            shutil.rmtree(path)
        transformer = self.study / f"{NAMES[0]}_s0"
        config = json.loads((transformer / "config.json").read_text())
        self.report()
        self.assertEqual(len(self.summary["results"]), 4)
        shutil.rmtree(transformer)
        self.report()
        (missing,) = self.summary["missing"]
        self.assertIsNone(self.summary["results"][0]["validation_gap_percent"])
        tool, *arguments = shlex.split(missing["command"])
        self.succeed(tool, *arguments)
        made = self.study / "transformer_sample_L64_N2"
        # The same but for what a transformer does not read.
        repeated = json.loads((made / "config.json").read_text())
        self.assertEqual({key for key in config if config[key] != repeated[key]},
                         {"reduced_dim", "windows"})
        self.report()
        self.assertEqual(self.summary["missing"], [])
        self.report(self.study / f"{NAMES[1]}_s0", made)  # single runs
        self.assertEqual(len(self.summary["results"]), 2)
        self.report(self.study, self.made)
        self.assertEqual([len(row["runs"]) for row in self.summary["results"]], [3, 3, 3, 3])
        self.assertRegex(self.text, "is left out: .* the same options and the same seed")

    def test_other_recipes_are_not_compared(self):
        for path in self.study.glob("grassmann*/config.json"):
            path.write_text(path.read_text().replace('"lr": 0.01', '"lr": 0.02'))
        self.report()
        self.assertTrue(all(row["validation_gap_percent"] is None for row in self.summary["results"]))

    def add_ablation(self, name, perplexity, **options):
        """A run of seed 0 as the Grassmann model's, but for its options and perplexity."""
        run = self.study / name
        shutil.copytree(self.study / f"{NAMES[1]}_s0", run)
        for file in ("config.json", "results.json"):
            content = json.loads((run / file).read_text())
            config = content.get("config", content)
            config.update(options)
            content |= {"best_val_perplexity": perplexity} if file == "results.json" else {}
            (run / file).write_text(json.dumps(content))

    def test_ablations(self):
        self.report()
        before = self.summary["results"]
        (reference, *_) = self.values(NAMES[0], "best_val_perplexity")
        one, two = [2], [1, 2]
        self.add_ablation("heads", 1.1 * reference, grassmann_heads=4)
        self.add_ablation("learned", 1.2 * reference, window_weights="learned")
        self.add_ablation("one", 1.3 * reference, windows=one)
        self.add_ablation("plus", 1.4 * reference, model="grassmann+", window_weights="learned",
                          window_schedule="per-layer")
        out = self.report()
        self.assertEqual(self.summary["results"], before)
        self.assertEqual(self.summary["missing"], [])
        found = {row["runs"][0]["name"]: row for row in self.summary["ablations"]}
        for name, gap, mixer in (("heads", 10, [two, 4, "mean"]), ("learned", 20, [two, 1, "learned"]),
                                 ("one", 30, [one, 1, "mean"]), ("plus", 40, [two, 1, "learned"])):
            row = found.pop(name)
            self.assertAlmostEqual(row["validation_gap_percent"]["mean"], gap)
            self.assertEqual([row[key] for key in ("windows", "grassmann_heads", "window_weights")],
                             mixer)
        self.assertEqual(found, {})
        section = self.text.split("## Which windows")[1].split("##")[0]
        self.assertIn("Of the sample corpus, L = 64, N = 2:", section)
        rows = [[cell.strip() for cell in line.split("|")[1:-1]]
                for line in section.splitlines() if line.startswith("|")][2:]
        self.assertEqual([[row[0], row[1], row[2], row[4]] for row in rows], [
            ["transformer", "", "", "3"],
            ["2", "1 × 4", "mean", "1"],
            ["1, 2; one per layer", "1 × 4", "mean", "3"],
            ["1, 2", "1 × 4", "mean", "3"],
            ["1, 2; one per layer", "1 × 4", "learned", "1"],
            ["1, 2", "1 × 4", "learned", "1"],
            ["1, 2", "4 × 4", "mean", "1"],
            ["1, 2", "4 × 4", "learned", "3"]])
        self.assertEqual(rows[1][7], "+30.0 %")
        self.assertIn("+30.0 %", out)
        self.assertIn("](windows_ablation.png)", section)
        tree = xml.etree.ElementTree.parse(self.dir / "report/windows_ablation.svg")
        texts = " ".join("".join(e.itertext()) for e in tree.iter() if e.tag.endswith("text"))
        for text in ("only 2", "4 heads", "+30.0 %", "Grassmann, other windows"):
            self.assertIn(text, texts)

    def test_a_study_of_an_earlier_version(self):
        for path in self.study.glob("grassmann+*"):
            shutil.rmtree(path)
        self.report()
        texts, summary = self.text, self.summary
        for path in self.study.glob("*/config.json"):
            config = json.loads(path.read_text())
            del config["grassmann_heads"], config["window_weights"]
            path.write_text(json.dumps(config))
        self.report()
        self.assertEqual((self.text, self.summary), (texts, summary))

    def test_pairs(self):
        for name, accuracy in ((NAMES[0], 0.5), (NAMES[1], 0.53)):
            run = self.study / f"{name}_s0"
            config = json.loads((run / "config.json").read_text())
            config.update(task="snli", preset="study")
            (run / "config.json").write_text(json.dumps(config))
            (run / "results.json").write_text(json.dumps({
                "completed": True, "best_epoch": 2, "best_val_accuracy": accuracy + 0.01,
                "epochs": [{"epoch": 1, "val_accuracy": 0.4}, {"epoch": 2, "val_accuracy": 0.51}]}))
            (run / "snli_test_results.json").write_text(json.dumps({
                "accuracy": accuracy, "loss": 1.01, "total_samples": 9824,
                "entailment_accuracy": 0.6, "neutral_accuracy": 0.4, "contradiction_accuracy": 0.5}))
        self.report()
        row = self.summary["results"][-1]
        self.assertAlmostEqual(row["test_accuracy"]["mean"], 53)
        self.assertAlmostEqual(row["test_gap_points"]["mean"], 3)
        self.assertIn("| Grassmann, all windows | 1.0100 | 60.0 | 40.0 | 50.0 |", self.text)
        self.assertIn("| study, all training pairs | Grassmann, as published | – | 66.47 |", self.text)
        self.assertTrue((self.dir / "report/snli_results.png").exists())

    def test_what_is_no_study(self):
        self.fail_with(2, "expected the directory", "gf-report")
        self.fail_with(1, "nowhere is not a directory", "gf-report", "nowhere")
        (self.dir / "empty").mkdir()
        self.fail_with(1, "holds neither a run nor a study", "gf-report", self.dir / "empty")
        (self.study / "study.json").write_text("[1, 2")
        self.fail_with(1, "study.json is damaged", "gf-report", self.study)

    def test_an_empty_study(self):
        for path in self.study.glob("*_s?"):
            shutil.rmtree(path)
        self.report()
        self.assertEqual(len(self.summary["missing"]), 12)
        self.assertEqual(self.summary["results"], [])


class Pictures(ReportTest):
    def test_pictures(self):
        self.report()
        for name in ("sample_results", "gap_by_schedule", "learning_curves"):
            self.assertIn(f"]({name}.png)", self.text)
            png = (self.dir / f"report/{name}.png").read_bytes()
            self.assertEqual(png[:8], b"\x89PNG\r\n\x1a\n")
            width, height = struct.unpack(">II", png[16:24])
            self.assertEqual(width, 1200)
            self.assertGreater(height, 500)
            tree = xml.etree.ElementTree.parse(self.dir / f"report/{name}.svg")
            texts = " ".join("".join(e.itertext()) for e in tree.iter() if e.tag.endswith("text"))
            self.assertIn("Grassmann, one window per layer", texts)
            if name == "sample_results":
                for mean in (statistics.mean(self.values(n, "best_val_perplexity")) for n in NAMES):
                    self.assertIn(f"{mean:.1f}" if mean >= 10 else f"{mean:.2f}", texts)

    def test_without_gnuplot_the_rest_is_written(self):
        done = subprocess.run([TOOLS / "gf-report", self.study], capture_output=True, timeout=60,
                              env={**os.environ, "PATH": "/nowhere"})
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"gnuplot is not installed", done.stderr)
        self.assertIn("# Grassmann", (self.study / "report.md").read_text())
        self.assertNotIn(".png", (self.study / "report.md").read_text())
        self.assertTrue((self.study / "best_results_summary.json").exists())


if __name__ == "__main__":
    unittest.main()
