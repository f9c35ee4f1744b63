"""What a user of the package relies on, beyond the losses that train_steps compares with C."""

import gc
import os
import pathlib
import signal
import tempfile
import threading
import time
import unittest

import grassflow as gf
import numpy as np

LENGTH = 16


def small_config(mixer="grassmann", **changes):
    return gf.ModelConfig(256, mixer, max_seq_len=LENGTH, num_layers=2, model_dim=16, num_heads=2,
                          reduced_dim=4, ff_dim=32, **changes)


def few_steps(steps, **changes):
    return gf.TrainOptions(max_steps=steps, warmup_steps=2, lr=3e-3, **changes)


class ApiTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.dir = pathlib.Path(scratch.name)
        self.context = gf.Context(threads=1)
        self.bytes = gf.Tokenizer(self.context, "byte")
        ids = self.bytes.encode(self.context.sample_text(1, 4000))
        self.data = gf.Dataset(self.context, ids, LENGTH)

    def model(self, mixer="grassmann", seed=1):
        return gf.Model(self.context, small_config(mixer), seed)


class Defaults(ApiTest):
    def test_are_the_librarys(self):
        options = gf.TrainOptions(lr=1e-3)
        self.assertEqual((options.batch_size, options.epochs, options.lr, options.schedule),
                         (32, 20, 1e-3, "cosine"))
        config = gf.ModelConfig(7, "transformer", dropout=0)
        self.assertEqual((config.vocab_size, config.num_layers, config.dropout,
                          config.window_schedule, config.windows), (7, 6, 0, "all", []))
        self.assertRegex(gf.__version__, r"^\d+\.\d+\.\d+$")

    def test_numbers_that_do_not_fit_are_refused(self):
        for call in (lambda: gf.Dataset(self.context, [1, 2], 2**32 + 2),
                     lambda: gf.Dataset(self.context, [1, 2**32], 2),
                     lambda: gf.Model(self.context, small_config(), -1),
                     lambda: gf.Trainer(self.model(), self.data, few_steps(2**64 + 1)),
                     lambda: gf.Context(threads=2**32)):
            with self.assertRaises(gf.InvalidArgumentError):
                call()
        with self.assertRaises(TypeError):
            gf.Dataset(self.context, [1.5, 2], 2)
        with self.assertRaisesRegex(ValueError, "mixer is 'mlp', expected one of grassmann, trans"):
            gf.ModelConfig(256, "mlp")


class Contexts(ApiTest):
    def test_description(self):
        self.assertEqual(self.context.description, "cpu, 1 thread, fp32")
        self.assertIn("cpu", repr(self.context))

    def test_failures_have_a_class(self):
        with self.assertRaisesRegex(gf.InvalidArgumentError, "tpu"):
            gf.Context("tpu")
        with self.assertRaisesRegex(gf.UnsupportedError, "bf16"):
            gf.Context(precision="bf16")
        with self.assertRaisesRegex(gf.InvalidArgumentError, "zero byte at position 3"):
            gf.Context("cpu\0")
        self.assertTrue(issubclass(gf.NotFoundError, (FileNotFoundError, gf.Error)))

    def test_profile(self):
        self.context.set_profiling(True)
        self.model().forward([1, 2])
        entries = {entry.name: entry for entry in self.context.profile()}
        self.assertGreater(entries["linear"].calls, 0)


class Tokenizers(ApiTest):
    def test_text_and_back(self):
        self.assertEqual((self.bytes.name, self.bytes.vocab_size), ("byte", 256))
        ids = self.bytes.encode("Gr\u00fcn\0")
        self.assertEqual((ids.dtype, ids.tolist()), (np.int32, [71, 114, 195, 188, 110, 0]))
        self.assertEqual(self.bytes.decode(ids), "Gr\u00fcn\0")
        self.assertEqual(self.bytes.decode_bytes(ids[:3]), b"Gr\xc3")
        self.assertEqual(self.bytes.decode(ids[:3]), "Gr\ufffd")
        self.assertEqual(self.bytes.encode(b"\xff").tolist(), [255])
        self.assertEqual(self.bytes.encode("").size, 0)
        self.assertEqual(self.bytes.decode([]), "")
        with self.assertRaisesRegex(gf.InvalidArgumentError, "256"):
            self.bytes.decode([65, 256])

    def test_pairs(self):
        (self.dir / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nred\nfox\n")
        bert = gf.Tokenizer(self.context, "bert", self.dir)
        self.assertEqual(bert.special_ids, gf.SpecialIds(0, 1, 2, 3, None))
        self.assertEqual(bert.encode_pair("Red fox", "fox").tolist(), [2, 5, 6, 3, 6, 3])
        self.assertEqual(bert.encode_pair("Red fox", "fox", max_ids=5).tolist(), [2, 5, 3, 6, 3])
        self.assertEqual(bert.encode("red fox", special=False).tolist(), [5, 6])
        with self.assertRaisesRegex(gf.InvalidArgumentError, "word"):
            gf.Tokenizer(self.context, "word")
        with self.assertRaises(FileNotFoundError):
            gf.Tokenizer(self.context, "bert", self.dir / "nowhere")


class Datasets(ApiTest):
    def test_slices(self):
        self.assertEqual(self.data.info(),
                         gf.DatasetInfo(4000, 250, LENGTH, 1, 4000, 4000, label_counts=()))
        self.assertEqual((len(self.data[10:30]), len(self.data[-7:])), (20, 7))
        for chunks in (slice(5, 5), slice(0, 9, 2)):
            with self.assertRaises(gf.InvalidArgumentError):
                self.data[chunks]
        with self.assertRaises(TypeError):
            self.data[3]

    def test_any_array_of_whole_numbers(self):
        for ids in ([1, 2, 3, 4], np.arange(4, dtype=np.uint8), np.arange(8)[::2]):
            self.assertEqual(len(gf.Dataset(self.context, ids, 2)), 2)
        with self.assertRaises(gf.InvalidArgumentError):
            gf.Dataset(self.context, [], 2)

    def test_files(self):
        file = self.dir / "text.txt"
        file.write_text("one two three four")
        self.assertEqual(len(gf.Dataset.from_text_file(self.context, self.bytes, file, 6)), 3)
        with self.assertRaisesRegex(gf.NotFoundError, "missing"):
            gf.Dataset.from_text_file(self.context, self.bytes, self.dir / "missing", 6)
        self.assertEqual(len(self.context.sample_pairs(1, 3).splitlines()), 3)


class Pairs(ApiTest):
    def setUp(self):
        super().setUp()
        self.text = (self.context.sample_pairs(1, 30)
                     + '{"gold_label": "-", "sentence1": "a", "sentence2": "b"}')

    def test_files_and_text(self):
        file = self.dir / "pairs.jsonl"
        file.write_text(self.text)
        data, report = gf.Dataset.from_snli_file(self.context, self.bytes, file, LENGTH)
        self.assertEqual((report.lines, report.pairs, report.unlabelled, report.cut),
                         (31, 30, 1, 30))
        self.assertEqual((len(data), data.info().label_counts), (30, report.label_counts))
        _, same = gf.Dataset.from_snli_text(self.context, self.bytes, self.text, LENGTH)
        self.assertEqual(same, report)
        with self.assertRaisesRegex(gf.FormatError, "line 1"):
            gf.Dataset.from_snli_text(self.context, self.bytes, "{}", LENGTH)

    def test_arrays(self):
        data = gf.Dataset.from_pairs(self.context, [[1, 2, 3], np.array([4])], [0, 2])
        self.assertEqual((data.info().ids, data.info().label_counts), (4, (1, 0, 1)))
        for sequences, labels, named in (([[1]], [99], "99"), ([[1]], [0, 1], "shape"),
                                         ([], [], ""), ([[1], []], [0, 1], "")):
            with self.assertRaisesRegex(gf.InvalidArgumentError, named):
                gf.Dataset.from_pairs(self.context, sequences, labels)

    def test_classifiers(self):
        data, report = gf.Dataset.from_snli_text(self.context, self.bytes, self.text, LENGTH)
        model = gf.Model(self.context, small_config(num_classes=len(gf.SNLI_CLASSES)), 1)
        self.assertTrue(gf.Trainer(model, data, few_steps(3)).train())
        found = model.evaluate(data)
        self.assertEqual(tuple(found.class_counts), report.label_counts)
        self.assertEqual((found.confusion.shape, found.confusion.sum()), ((3, 3), 30))
        self.assertEqual(found.accuracy, np.trace(found.confusion) / 30)
        self.assertEqual(self.model().evaluate(self.data).confusion.shape, (0, 0))

        logits = model.classify([[1, 2, 3], [4, 0, 0]], lengths=[3, 1])
        np.testing.assert_allclose(model.classify([4]), logits[1], atol=1e-5)
        self.assertGreater(np.abs(model.classify([4, 0, 0]) - logits[1]).max(), 1e-5)
        with self.assertRaisesRegex(gf.InvalidArgumentError, "1 lengths"):
            model.classify([[1], [2]], [1])
        with self.assertRaisesRegex(gf.InvalidArgumentError, "classif"):
            model.forward([1])


class Models(ApiTest):
    def test_configuration(self):
        config = small_config(window_schedule="per-layer", windows=[1, 3], grassmann_heads=2,
                              window_weights="learned")
        model = gf.Model(self.context, config, 1)
        self.assertEqual(model.config, config)
        count = sum(int(np.prod(shape)) for shape in model.parameters().values())
        self.assertEqual(config.count_parameters(self.context), count)
        model_bytes, training_bytes = config.bytes(self.context, 4, LENGTH)
        self.assertTrue(4 * count <= model_bytes < training_bytes)
        for windows, named in (([0], "windows"), ([1] * 65, "65")):
            with self.assertRaisesRegex(gf.InvalidArgumentError, named):
                gf.Model(self.context, small_config(windows=windows))
        for change, named in (({"grassmann_heads": -1}, "grassmann_heads is -1"),
                              ({"window_weights": "sum"}, "window_weights is 'sum', .* mean, lea")):
            with self.assertRaisesRegex(gf.InvalidArgumentError, named):
                gf.Model(self.context, small_config(**change))

    def test_grassmann_plus(self):
        plus = gf.ModelConfig.grassmann_plus(30522, num_layers=12)
        self.assertEqual((plus.mixer, plus.grassmann_heads, plus.reduced_dim, len(plus.windows),
                          plus.window_weights), ("grassmann", 4, 16, 12, "learned"))
        self.assertEqual(plus.count_parameters(self.context), 17_456_448)
        config = gf.ModelConfig.grassmann_plus(256, num_layers=2, model_dim=16, ff_dim=32)
        model, name = gf.Model(self.context, config, 1), "blocks.1.grassmann.offset_weight"
        self.assertEqual(model.config, config)
        fresh = model.read_parameter(name)
        np.testing.assert_array_equal(fresh, np.full((4, 12), 1 / 12, np.float32))
        gf.Trainer(model, self.data, few_steps(1, weight_decay=0)).train()
        self.assertTrue(np.any(model.read_parameter(name) != fresh))

    def test_parameters_are_arrays(self):
        model, name = self.model(), "position_embedding.weight"
        self.assertEqual(model.parameters()[name], (LENGTH, 16))
        values = model.read_parameter(name)
        values[1, 1] = 0.5
        model.write_parameter(name, values)
        out = np.zeros_like(values)
        self.assertIs(model.read_parameter(name, out), out)
        np.testing.assert_array_equal(out, values)
        model.write_parameter(name, values.T)  # another order of memory, the same shape
        np.testing.assert_array_equal(model.read_parameter(name), values.T)
        for wrong in (np.zeros(256), np.zeros((16, 15))):
            with self.assertRaisesRegex(gf.InvalidArgumentError, r"\(16, 16\)"):
                model.write_parameter(name, wrong)
        for wrong in (out.astype(float), out[:, :3], out.T):
            with self.assertRaisesRegex(gf.InvalidArgumentError, "out is"):
                model.read_parameter(name, wrong)
        for call in (lambda: model.read_parameter("none"),
                     lambda: model.write_parameter("none", [1])):
            with self.assertRaisesRegex(gf.NotFoundError, "none"):
                call()

    def test_logits(self):
        model = self.model()
        ids = np.arange(6, dtype=np.int32).reshape(2, 3)
        out = np.zeros((2, 3, 256), np.float32)
        self.assertIs(model.forward(ids, out), out)
        np.testing.assert_allclose(model.forward(ids[1]), out[1], atol=1e-5)
        self.assertGreater(np.abs(out[0] - out[1]).max(), 1e-3)
        for wrong, named in (([[1, 999]], "999"), ([], "shape"), ([1] * 17, "17"), (7, "shape")):
            with self.assertRaisesRegex(gf.InvalidArgumentError, named):
                model.forward(wrong)

    def test_files(self):
        model, file = self.model("transformer", 7), self.dir / "model.safetensors"
        model.set_metadata("tokenizer", "byte")
        model.save(file)
        loaded = gf.Model.load(self.context, file)
        self.assertEqual(loaded.metadata("tokenizer"), "byte")
        loaded.set_metadata("tokenizer", None)
        self.assertIsNone(loaded.metadata("tokenizer"))
        self.assertEqual(loaded.evaluate(self.data).loss, model.evaluate(self.data).loss)
        with self.assertRaises(gf.MismatchError):
            self.model().load_weights(file)
        file.write_text("no safetensors")
        with self.assertRaisesRegex(gf.FormatError, "model.safetensors"):
            model.load_weights(os.fsencode(file))


class Training(ApiTest):
    def test_progress_cancels_and_training_goes_on(self):
        model, steps = self.model(), []
        trainer = gf.Trainer(model, self.data, few_steps(8))

        def show(report):
            steps.append(report.step)
            model.evaluate(self.data[:4])  # the model may be used here
            return report.step == 3

        self.assertFalse(trainer.train(show))
        self.assertEqual((steps, trainer.state().step), ([1, 2, 3], 3))
        self.assertTrue(trainer.step_without_report())
        self.assertTrue(trainer.train())
        self.assertIsNone(trainer.step())
        self.assertFalse(trainer.step_without_report())
        self.assertEqual(trainer.state().step, trainer.state().total_steps)

    def test_what_progress_raises_comes_out(self):
        trainer = gf.Trainer(self.model(), self.data, few_steps(4))
        with self.assertRaises(ZeroDivisionError):
            trainer.train(lambda report: 1 / 0)
        self.assertEqual(len(list(trainer)), 3)

    def test_an_interrupt_ends_between_steps(self):
        trainer = gf.Trainer(self.model(), self.data, few_steps(0, epochs=10**6))
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with self.assertRaises(KeyboardInterrupt):
            trainer.train()
        timer.join()
        done = trainer.state().step
        self.assertGreater(done, 0)
        self.assertEqual(next(trainer).step, done + 1)

    def test_a_checkpoint_continues_bit_for_bit(self):
        def start(**changes):
            return gf.Trainer(self.model(), self.data, few_steps(6, **changes))

        file = self.dir / "checkpoint.safetensors"
        expected = [report.loss for report in start()]
        first, second = start(), start()
        self.assertEqual([next(first).loss for _ in range(3)], expected[:3])
        first.save_checkpoint(file)
        second.load_checkpoint(file)
        self.assertEqual([report.loss for report in second], expected[3:])
        with self.assertRaisesRegex(gf.MismatchError, "beta1"):
            start(beta1=0.5).load_checkpoint(file)
        with self.assertRaisesRegex(gf.InvalidArgumentError, "batch_size"):
            start(batch_size=0)


class Lifetimes(ApiTest):
    def test_any_order(self):
        model = self.model()
        trainer = gf.Trainer(model, self.data, few_steps(2))
        for handle in (self.context, self.data, model, model):
            handle.close()
        self.assertEqual(len(list(trainer)), 2)
        with self.assertRaisesRegex(gf.InvalidArgumentError, "the model is closed"):
            model.parameters()
        with self.assertRaisesRegex(ValueError, "the context is closed"):
            self.model()
        self.assertIn("closed", repr(self.context))

    def test_with_and_collection(self):
        with self.model() as model:
            self.assertEqual(model.forward([1]).shape, (1, 256))
        with self.assertRaises(gf.Error):
            model.forward([1])
        for _ in range(50):  # a cycle leaves it to the collector
            cycle = [self.model()]
            cycle.append(cycle)
        del cycle
        gc.collect()
        self.assertGreater(self.model().evaluate(self.data).loss, 0)

    def test_a_child_process_makes_its_own(self):
        model = self.model()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                model.evaluate(self.data)
            except gf.InvalidArgumentError as error:
                model.close()
                with gf.Context(threads=1) as own:
                    fine = gf.Model(own, small_config()).forward([1]).shape == (1, 256)
                status = 0 if fine and "fork" in str(error) else 2
            finally:
                os._exit(status)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertGreater(model.evaluate(self.data).loss, 0)

    def test_an_evaluation_is_cancelled_in_another_thread(self):
        model = self.model()
        expected = model.evaluate(self.data).loss
        self.context.cancel()
        with self.assertRaisesRegex(gf.CancelledError, "cancelled"):
            model.evaluate(self.data)
        self.assertEqual(model.evaluate(self.data).loss, expected)
        self.context.cancel()
        self.context.cancel(False)
        self.assertEqual(model.evaluate(self.data).loss, expected)

        other = threading.Thread(target=lambda: [time.sleep(0.05), self.context.cancel()])
        other.start()
        with self.assertRaises(gf.CancelledError):  # without waiting for its turn
            while True:
                model.evaluate(self.data, 1)
        other.join()

    def test_threads_take_turns(self):
        other = gf.Context(threads=1)
        models = [self.model(), gf.Model(other, small_config(), 1)]
        data = [self.data, gf.Dataset(other, self.bytes.encode(other.sample_text(1, 4000)), LENGTH)]
        expected, found = models[0].evaluate(self.data).loss, []

        def work(model, dataset):
            for _ in range(5):
                try:
                    model.read_parameter("none")
                except gf.NotFoundError:
                    found.append(model.evaluate(dataset).loss)
                gf.Model(self.context, small_config())  # collected while others work

        threads = [threading.Thread(target=work, args=(models[i % 2], data[i // 2 % 2]))
                   for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(found, [expected] * 40)


if __name__ == "__main__":
    unittest.main()
