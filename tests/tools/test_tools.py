#!/usr/bin/env python3
"""gf-train and gf-eval as a user meets them: test_tools.py DIRECTORY_OF_THE_TOOLS."""

import json
import pathlib
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

TOOLS = pathlib.Path(sys.argv.pop(1)).resolve()
TEXT = "".join(f"The {i}th line says that {i * i % 97} birds sing.\n" for i in range(400))
TINY = ("--task text --tokenizer byte --max-seq-len 16 --num-layers 2 --model-dim 16 --num-heads 2 "
        "--reduced-dim 4 --ff-dim 32 --windows 1,2,4 --batch-size 32 --epochs 2 --lr 3e-3 "
        "--warmup-steps 5 --threads 1").split()
PAIRS = {"entailment": ("A dog runs.", "An animal runs."), "neutral": ("A dog runs.", "A dog is old."),
         "contradiction": ("A dog runs.", "A dog sleeps.")}


def run(tool, *arguments, stdin=b"", **options):
    """The finished process; its output is bytes."""
    return subprocess.run([TOOLS / tool, *map(str, arguments)], input=stdin, capture_output=True,
                          timeout=300, **options)


class ToolTest(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)
        self.dir = pathlib.Path(self.scratch.name)
        self.text = self.dir / "text.txt"
        self.text.write_text(TEXT)

    def succeed(self, *arguments, **options):
        done = run(*arguments, **options)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        self.assertEqual(done.stderr, b"")
        return done.stdout

    def fail_with(self, code, message, *arguments, **options):
        done = run(*arguments, **options)
        self.assertEqual(done.returncode, code, done)
        self.assertRegex(done.stderr.decode(), message)
        self.assertTrue(done.stderr.startswith(arguments[0].encode() + b": "), done.stderr)

    def train(self, name, *arguments):
        return self.succeed("gf-train", *TINY, "--data", self.text, "--output-dir",
                            self.dir / name, *arguments)

    def interrupt(self, name, *arguments):
        """Starts a run, stops it with Ctrl-C after its tenth step, and returns its directory."""
        self.interrupt_at("step", *TINY, "--data", self.text, "--output-dir", self.dir / name,
                          *arguments, run=self.dir / name)
        return self.dir / name

    def interrupt_at(self, event, *arguments, run):
        """Starts gf-train and stops it with Ctrl-C at the first such event."""
        command = [TOOLS / "gf-train", *map(str, arguments), "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            for line in process.stdout:
                if json.loads(line)["event"] == event:
                    process.send_signal(signal.SIGINT)
                    break
            rest, errors = process.communicate(timeout=300)
        self.assertEqual(process.returncode, 130, errors)
        self.assertIn(f"--resume {run}".encode(), errors)
        return [json.loads(line)["event"] for line in rest.splitlines()]

    def write_pairs(self, **counts):
        """A corpus of pairs in self.dir, each split with so many."""
        (self.dir / "snli_1.0").mkdir()
        for split, count in counts.items():
            lines = [json.dumps({"gold_label": label, "sentence1": f"{i} " + PAIRS[label][0],
                                 "sentence2": PAIRS[label][1], "pairID": str(i)})
                     for i, label in enumerate([*PAIRS] * (count // 3))]
            lines += ['{"gold_label": "-", "sentence1": "a", "sentence2": "b"}', ""]
            (self.dir / f"snli_1.0/snli_1.0_{split}.jsonl").write_text("\n".join(lines))


class CommandLine(ToolTest):
    def test_help_and_version(self):
        for tool in ("gf-train", "gf-eval", "gf-tokenize", "gf-study", "gf-report"):
            text = self.succeed(tool, "--help").decode()
            self.assertIn("Usage: " + tool, text)
            self.assertIn("Example", text)
            self.assertLessEqual(max(map(len, text.splitlines())), 80)
            self.assertRegex(self.succeed(tool, "--version"), rb"^gf-\w+ \d+\.\d+\.\d+\n$")

    def test_mistakes_name_the_flag_and_what_is_expected(self):
        for arguments, message in (
                (["--modle", "x"], r"unknown option --modle \(did you mean --model\?\)"),
                (["--lr", "fast"], r"--lr: expected a number above 0, not 'fast'"),
                (["--windows", "0"], r"--windows: expected whole numbers, each at least 1"),
                (["--windows", "1,,2"], r"--windows: .*'1,,2'"),
                (["--epochs", "0"], r"--epochs: expected a whole number, at least 1, not '0'"),
                (["--seed", "1e3"], r"--seed: expected a whole number"),
                (["--dropout", "1"], r"--dropout: expected a number from 0 to 0.999"),
                (["--model", "rnn"], r"--model: expected grassmann, grassmann\+ or transformer, not 'rnn'"),
                (["--window-weights", "sum"], r"--window-weights: expected mean or learned, not 'sum'"),
                (["--grassmann-heads", "0"], r"--grassmann-heads: expected a whole number, at least 1"),
                (["--preset", "x"], r"--preset: expected study, document or demo"),
                (["--num-layers"], r"--num-layers: expected a value"),
                (["stray"], r"unexpected argument 'stray'"),
                (["--device", "tpu", "--dry-run"], r"tpu"),
                (["--model", "transformer", "--model-dim", "64", "--num-heads", "5", "--dry-run"],
                 r"--num-heads 5 does not divide --model-dim 64"),
                (["--task", "text"], r"--task text needs --data"),
        ):
            with self.subTest(arguments):
                self.fail_with(2, message, "gf-train", *arguments)
        self.fail_with(2, "--checkpoint", "gf-eval")
        self.fail_with(2, "--split: expected validation or test", "gf-eval", "--checkpoint", "x",
                       "--split", "train")
        self.fail_with(2, "--tokenizer", "gf-tokenize")
        self.fail_with(2, "--pair", "gf-tokenize", "--tokenizer", "byte", "--pair", "--decode")

    def test_dry_run_counts(self):
        # The table of parameter counts: V, L, N, transformer, grassmann, grassmann+.
        for tokenizer, length, layers, *counts in (
                ("gpt2", 256, 6, 17_670_400, 17_695_168, 17_720_224),
                ("bert", 128, 6, 12_585_472, 12_610_240, 12_635_296),
                ("bert", 256, 6, 12_618_240, 12_643_008, 12_668_064),
                ("bert", 128, 12, 17_324_032, 17_373_568, 17_423_680),
                ("bert", 256, 12, 17_356_800, 17_406_336, 17_456_448),
        ):
            for model, count in zip(("transformer", "grassmann", "grassmann+"), counts):
                shape = ["--preset", "study", "--tokenizer", tokenizer, "--model", model,
                         "--max-seq-len", length, "--num-layers", layers, "--dry-run"]
                self.assertIn(f" {count:,}\n", self.succeed("gf-train", *shape).decode())
                report = json.loads(self.succeed("gf-train", *shape, "--json"))
                self.assertEqual(report["parameters"], count)
                self.assertEqual(sum(t["count"] for t in report["tensors"]), count)
                self.assertGreater(report["training_bytes"], 4 * report["model_bytes"] - 1)

    def test_presets(self):
        def config(*arguments):
            return json.loads(self.succeed("gf-train", *arguments, "--dry-run", "--json"))["config"]

        study, wide = config(), config("--max-seq-len", 256)
        self.assertEqual((study["batch_size"], wide["batch_size"]), (32, 16))
        self.assertEqual(config("--max-seq-len", 256, "--batch-size", 7)["batch_size"], 7)
        document = config("--preset", "document", "--lr", "1e-3")
        self.assertEqual((document["num_heads"], document["min_lr"], document["schedule"],
                          document["lr"]), (8, 0, "cosine-epoch", 1e-3))
        self.assertEqual(config("--preset", "demo")["task"], "sample")

        def mixer(*arguments):
            keys = ("grassmann_heads", "reduced_dim", "windows", "window_schedule", "window_weights")
            return [config(*arguments)[key] for key in keys]

        windows = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]
        self.assertEqual(mixer(), [1, 32, [1, 2, 4, 8, 12, 16], "all", "mean"])
        plus = ("--model", "grassmann+")
        for preset, reduced_dim in (("study", 16), ("document", 16), ("demo", 8)):
            self.assertEqual(mixer(*plus, "--preset", preset),
                             [4, reduced_dim, windows, "all", "learned"])
        self.assertEqual(mixer("--task", "snli", *plus), [4, 16, windows, "all", "learned"])
        self.assertEqual(mixer("--window-weights", "mean", "--windows", "3", *plus,
                               "--grassmann-heads", 2, "--window-schedule", "per-layer"),
                         [2, 16, [3], "per-layer", "mean"])


class Training(ToolTest):
    def test_a_run_and_its_files(self):
        for model in ("transformer", "grassmann", "grassmann+"):
            out = self.train(model, "--model", model).decode()
            self.assertIn("held out", out)
            self.assertNotIn("\x1b", out)  # no terminal: no control sequences
            self.assertNotIn("\r", out)
            run_dir = self.dir / model
            results = json.loads((run_dir / "results.json").read_text())
            self.assertTrue(results["completed"])
            self.assertEqual(len(results["epochs"]), 2)
            self.assertLess(results["epochs"][1]["val_loss"], 5)
            best = min(results["epochs"], key=lambda epoch: epoch["val_loss"])
            self.assertEqual(best["epoch"], results["best_epoch"])
            self.assertEqual(best["val_loss"], results["best_val_loss"])
            for key in ("config", "parameters", "test_perplexity", "tokens_per_second",
                        "wall_clock_seconds"):
                self.assertIn(key, results)
            steps = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
            self.assertEqual([s["event"] for s in steps].count("validation"), 2)
            self.assertFalse(list(run_dir.rglob("*.tmp*")))

            # gf-eval needs the checkpoint alone, and finds what gf-train found.
            for split, key in (("test", "test_loss"), ("validation", "best_val_loss")):
                self.succeed("gf-eval", "--checkpoint", run_dir / "checkpoints/best.safetensors",
                             "--split", split, "--output-file", self.dir / "eval.json")
                evaluated = json.loads((self.dir / "eval.json").read_text())
                self.assertAlmostEqual(evaluated["loss"], results[key], delta=1e-6)
                config = evaluated["config"]
                self.assertEqual((config["model"], config.pop("vocab_size")), (model, 256))
                self.assertEqual(config, {key: results["config"][key] for key in config})
                self.assertEqual("window_weights" in config, model != "transformer")
                self.assertGreater(evaluated["tokens"], 0)
            self.assertIn(b"perplexity", self.succeed("gf-eval", "--checkpoint", run_dir))

    def test_an_interrupted_run_goes_on_bit_equal(self):
        self.train("whole")
        part = self.interrupt("part")
        steps = [json.loads(s) for s in (part / "metrics.jsonl").read_text().splitlines()]
        self.assertFalse([s for s in steps if s["event"] == "test"])
        # Lines past the checkpoint and a torn one, as a crash leaves them.
        with open(part / "metrics.jsonl", "a") as metrics:
            metrics.write('{"event": "step", "step": 100000}\n{"event": "st')
        self.succeed("gf-train", "--resume", part)

        for checkpoint in ("last", "best"):
            whole, resumed = ((self.dir / name / f"checkpoints/{checkpoint}.safetensors").read_bytes()
                              for name in ("whole", "part"))
            self.assertEqual(whole, resumed, checkpoint)

        def lines(name):
            keys = ("event", "step", "loss", "val_loss", "train_loss", "best", "test_loss", "lr")
            return [[json.loads(line).get(key) for key in keys]
                    for line in (self.dir / name / "metrics.jsonl").read_text().splitlines()]

        self.assertEqual(lines("whole"), lines("part"))

    def test_resume_takes_the_runs_own_options(self):
        part = self.interrupt("part")
        self.fail_with(2, "--lr 0.5 conflicts with the run to resume, which has 0.003", "gf-train",
                       "--resume", part, "--lr", "0.5")
        self.fail_with(2, "--windows 1 conflicts .*1,2,4", "gf-train", "--resume", part,
                       "--windows", "1")
        self.fail_with(2, "--output-dir", "gf-train", "--resume", part, "--output-dir", self.dir)
        self.succeed("gf-train", "--resume", part / "checkpoints/last.safetensors", "--lr", "3e-3",
                     "--threads", "1", "--quiet")
        self.fail_with(2, "already holds a run", "gf-train", *TINY, "--data", self.text,
                       "--output-dir", part)

    def test_a_run_of_an_earlier_version(self):
        self.train("whole")
        part = self.interrupt("part")
        keys = ("grassmann_heads", "window_weights")

        def without(text):
            return json.dumps({key: value for key, value in json.loads(text).items()
                               if key not in keys})

        def make_earlier(path):
            whole = path.read_bytes()
            (size,) = struct.unpack_from("<Q", whole)
            header = json.loads(whole[8:8 + size])
            metadata = header["__metadata__"]
            del metadata["model"]
            metadata["gf.config"] = without(metadata["gf.config"])
            text = json.dumps(header, separators=(",", ":")).encode().ljust(size)
            path.write_bytes(struct.pack("<Q", len(text)) + text + whole[8 + size:])

        config = part / "config.json"
        config.write_text(without(config.read_text()))
        make_earlier(part / "checkpoints/last.safetensors")
        self.succeed("gf-train", "--resume", part, "--grassmann-heads", 1)
        results = [json.loads((self.dir / name / "results.json").read_text())
                   for name in ("whole", "part")]
        self.assertEqual(results[0]["test_loss"], results[1]["test_loss"])
        self.assertEqual(results[0]["config"], results[1]["config"])
        make_earlier(self.dir / "whole/checkpoints/best.safetensors")
        found = json.loads(self.succeed("gf-eval", "--checkpoint", self.dir / "whole", "--json"))
        self.assertEqual(found["loss"], results[0]["test_loss"])
        self.assertEqual([found["config"][key] for key in ("model", *keys)],
                         ["grassmann", 1, "mean"])
        config.write_text(config.read_text().replace('"windows"', '"widnows"'))
        self.fail_with(1, "config.json is damaged: no valid value for windows", "gf-train",
                       "--resume", part)

    def test_default_directory_and_latest(self):
        self.succeed("gf-train", *TINY, "--data", self.text, "--max-steps", 3, cwd=self.dir)
        (run_dir,) = (self.dir / "outputs").glob("*/*")
        self.assertEqual(run_dir.name, "grassmann_text_L16_N2")
        self.assertRegex(run_dir.parent.name, r"^\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d$")
        self.succeed("gf-train", "--resume", "latest", cwd=self.dir)
        self.fail_with(1, "no run to resume", "gf-train", "--resume", cwd="/")

    def test_the_demo_needs_no_files(self):
        out = self.succeed("gf-train", "--preset", "demo", "--max-steps", 2, "--max-seq-len", 16,
                           "--num-layers", 1, "--model-dim", 16, "--ff-dim", 16, "--output-dir",
                           self.dir / "demo")
        self.assertIn(b"the sample corpus", out)
        self.assertIn(b"perplexity", self.succeed("gf-eval", "--checkpoint", self.dir / "demo"))

    def test_a_loss_that_is_not_finite(self):
        self.fail_with(1, r"step \d.*last\.safetensors", "gf-train", *TINY, "--data", self.text,
                       "--output-dir", self.dir / "bad", "--lr", "1e30", "--grad-clip", "0")
        self.assertTrue((self.dir / "bad/checkpoints/last.safetensors").exists())

    def test_missing_and_short_texts(self):
        self.fail_with(1, "missing.txt", "gf-train", *TINY, "--data", self.dir / "missing.txt")
        for text, message in (("", "short.txt"), ("too short", "short.txt"),
                              ("a little over one chunk", "three are needed")):
            (self.dir / "short.txt").write_text(text)
            self.fail_with(1, message, "gf-train", *TINY, "--data", self.dir / "short.txt",
                           cwd=self.dir)
        self.assertFalse((self.dir / "outputs").exists())
        self.fail_with(1, "fetch-data.sh", "gf-train", cwd="/", env={})

    def test_missing_and_damaged_checkpoints(self):
        self.fail_with(1, "missing.safetensors", "gf-eval", "--checkpoint",
                       self.dir / "missing.safetensors")
        self.train("run", "--max-steps", 2)
        whole = (self.dir / "run/checkpoints/best.safetensors").read_bytes()
        damaged = self.dir / "damaged.safetensors"
        for content in (b"", b"nonsense", whole[:100], whole[:-1]):
            damaged.write_bytes(content)
            self.fail_with(1, "damaged.safetensors", "gf-eval", "--checkpoint", damaged)
        last = self.dir / "run/checkpoints/last.safetensors"
        last.write_bytes(last.read_bytes()[:-7])
        self.fail_with(1, "last.safetensors", "gf-train", "--resume", self.dir / "run")
        last.unlink()
        self.fail_with(1, "last.safetensors", "gf-train", "--resume", self.dir / "run")


class Pairs(ToolTest):
    def setUp(self):
        super().setUp()
        self.write_pairs(train_subset_20k=240, dev=60, test=30)
        self.flags = [*TINY, "--task", "snli", "--data", self.dir, "--max-seq-len", 64,
                      "--output-dir", self.dir / "run"]

    def test_a_run_and_its_results(self):
        out = self.succeed("gf-train", *self.flags, "--epochs", 3).decode()
        self.assertRegex(out, r"240 pairs for training, 60 for validation, 30 for the test")
        self.assertIn("a subset of the train split", out)
        self.assertRegex(out, r"3 pairs left out: their annotators disagreed")
        self.assertRegex(out, r"entailment +10 +\d+\.\d\d %")
        results = json.loads((self.dir / "run/results.json").read_text())
        best = max(results["epochs"], key=lambda epoch: epoch["val_accuracy"])  # the first of equals
        self.assertEqual(best["epoch"], results["best_epoch"])
        self.assertEqual(best["val_accuracy"], results["best_val_accuracy"])
        self.assertEqual(results["test"]["label_distribution"], dict.fromkeys(PAIRS, 10))
        self.assertEqual(results["test"]["total_samples"], 30)
        self.assertLess(results["padded_share"], 0.2)
        per_epoch = results["epochs"][0]["tokens"]
        self.assertEqual([epoch["tokens"] for epoch in results["epochs"]],
                         [per_epoch, 2 * per_epoch, 3 * per_epoch])

        for split, accuracy in (("test", results["test_accuracy"]),
                                ("validation", results["best_val_accuracy"])):
            found = json.loads(self.succeed("gf-eval", "--checkpoint", self.dir / "run", "--data",
                                            self.dir, "--split", split, "--json"))
            self.assertEqual(found["accuracy"], accuracy)
            matrix = found["confusion_matrix"]
            for row, label in zip(matrix, PAIRS):
                self.assertEqual(sum(row), found["label_distribution"][label])
            right = sum(matrix[i][i] for i in range(3))
            self.assertAlmostEqual(right / found["total_samples"], accuracy)
            self.assertAlmostEqual(matrix[1][1] / sum(matrix[1]), found["neutral_accuracy"])
        self.assertIn(b"contradiction", self.succeed("gf-eval", "--checkpoint", self.dir / "run",
                                                     "--data", self.dir))
        self.fail_with(1, "the dataset has chunks of a text", "gf-eval", "--checkpoint",
                       self.dir / "run", "--task", "sample")

    def test_the_recipe_follows_the_task(self):
        def report(*flags):
            return json.loads(self.succeed("gf-train", "--task", "snli", *flags, "--dry-run",
                                           "--json"))

        study = report("--model", "transformer", "--tokenizer", "gpt2", "--max-seq-len", 256)
        self.assertEqual(study["parameters"], 17_671_171)
        self.assertEqual([study["config"][key] for key in ("num_heads", "lr", "min_lr", "batch_size")],
                         [8, 3e-4, 0, 32])
        self.assertEqual(report("--preset", "demo")["config"]["task"], "sample-pairs")
        self.assertEqual(report("--preset", "demo", "--data", ".")["config"]["task"], "snli")

    def test_the_demo_needs_no_files(self):
        self.succeed("gf-train", "--preset", "demo", "--task", "snli", "--max-steps", 2,
                     "--num-layers", 1, "--model-dim", 8, "--ff-dim", 8, "--reduced-dim", 2,
                     "--batch-size", 64, "--output-dir", self.dir / "demo", cwd="/", env={})
        self.assertIn(b"the sample pairs", self.succeed("gf-eval", "--checkpoint",
                                                        self.dir / "demo", cwd="/", env={}))

    def test_bad_files_name_the_line(self):
        self.fail_with(2, "--max-seq-len 7 is too short for pairs", "gf-train", *self.flags,
                       "--max-seq-len", 7)
        dev = self.dir / "snli_1.0/snli_1.0_dev.jsonl"
        whole = dev.read_text()
        for bad, message in (("{", "line 61: no valid JSON"),
                             ('{"gold_label": "maybe", "sentence1": "a", "sentence2": "b"}',
                              'line 61: gold_label is "maybe", expected entailment'),
                             ('{"gold_label": "neutral", "sentence1": "a"}',
                              "line 61: has no sentence2")):
            dev.write_text(whole.replace('{"gold_label": "-"', bad + '\n{"gold_label": "-"'))
            self.fail_with(1, f"snli_1.0_dev.jsonl: {message}", "gf-train", *self.flags)
        dev.unlink()
        self.fail_with(1, "snli_1.0_dev.jsonl", "gf-train", *self.flags)
        self.fail_with(1, "snli_1.0_test.jsonl is in none of .*fetch-data.sh", "gf-train", "--task",
                       "snli", cwd="/", env={})


if __name__ == "__main__":
    unittest.main()
