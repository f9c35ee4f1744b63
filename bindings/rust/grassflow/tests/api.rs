//! What a user of the crate relies on, beyond the losses that train_steps compares with C.

use std::fs;
use std::ops::ControlFlow;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::PathBuf;

use grassflow::{
    Context, ContextOptions, Dataset, Error, Mixer, Model, ModelConfig, Outcome, Special, Status,
    TextFormat, Tokenizer, TrainOptions, Trainer, WindowSchedule, WindowWeights,
};

const LENGTH: i32 = 16;

fn context() -> Context {
    Context::new(&ContextOptions { threads: 1, ..Default::default() }).unwrap()
}

fn dataset(context: &Context) -> Dataset {
    let text = context.sample_text(1, 4000).unwrap();
    let ids = Tokenizer::load(context, "byte", None).unwrap().encode(text, Special::Keep).unwrap();
    Dataset::from_ids(context, &ids, LENGTH).unwrap()
}

fn config(mixer: Mixer) -> ModelConfig {
    ModelConfig {
        vocab_size: 256,
        max_seq_len: LENGTH,
        num_layers: 2,
        model_dim: 16,
        num_heads: 2,
        reduced_dim: 4,
        ff_dim: 32,
        ..ModelConfig::new(mixer)
    }
}

fn options(max_steps: i64) -> TrainOptions {
    TrainOptions { max_steps, warmup_steps: 2, lr: 3e-3, ..Default::default() }
}

fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn losses(trainer: &mut Trainer) -> Vec<f64> {
    trainer.map(|report| report.unwrap().loss).collect()
}

fn assert_fails<T>(result: Result<T, Error>, status: Status, text: &str) {
    let error = result.err().expect("a failure");
    assert_eq!(error.status(), status, "{error}");
    assert!(error.to_string().contains(text), "{error}: expected it to say {text}");
}

#[test]
fn defaults_are_the_librarys() {
    let options = TrainOptions::default();
    assert_eq!((options.batch_size, options.epochs, options.lr), (32, 20, 6e-4));
    let config = ModelConfig::new(Mixer::Transformer);
    assert_eq!((config.mixer, config.num_layers), (Mixer::Transformer, 6));
    assert_eq!(ContextOptions::default().device, "cpu");
    assert_eq!(grassflow::version(), env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_context_describes_its_device() {
    assert_eq!(context().description(), "cpu, 1 thread, fp32");
    let options = ContextOptions { device: "tpu".into(), ..Default::default() };
    assert_fails(Context::new(&options), Status::InvalidArgument, "tpu");
    let options = ContextOptions { precision: Some("bf16".into()), ..Default::default() };
    assert_fails(Context::new(&options), Status::Unsupported, "bf16");
}

#[test]
fn text_goes_to_ids_and_back() {
    let context = context();
    let bytes = Tokenizer::load(&context, "byte", None).unwrap();
    assert_eq!((bytes.name(), bytes.vocab_size()), ("byte", 256));
    assert_eq!(bytes.special_ids().unwrap().begin, None);
    let ids = bytes.encode("Gr\u{fc}n\0", Special::Keep).unwrap();
    assert_eq!(ids, [71, 114, 195, 188, 110, 0]);
    assert_eq!(bytes.decode(&ids[..3], Special::Keep).unwrap(), b"Gr\xc3");
    assert_fails(bytes.decode(&[65, 256], Special::Keep), Status::InvalidArgument, "256");
    assert_fails(Tokenizer::load(&context, "word", None), Status::InvalidArgument, "word");
    let missing = Tokenizer::load(&context, "bert", Some(&scratch("nowhere")));
    assert_fails(missing, Status::NotFound, "nowhere");
}

#[test]
fn words_of_a_pair_stand_between_special_ids() {
    let directory = scratch("bert");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("vocab.txt"), "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nred\nfox\n")
        .unwrap();
    let bert = Tokenizer::load(&context(), "bert", Some(&directory)).unwrap();
    let special = bert.special_ids().unwrap();
    assert_eq!((special.begin, special.separator, special.end), (Some(2), Some(3), None));
    let pair = |max_ids| bert.encode_pair("Red fox", "fox", Special::Keep, max_ids).unwrap();
    assert_eq!(pair(0), [2, 5, 6, 3, 6, 3]);
    assert_eq!(pair(5), [2, 5, 3, 6, 3]);
    assert_eq!(bert.encode("red fox", Special::Omit).unwrap(), [5, 6]);
}

#[test]
fn datasets_are_cut_and_sliced() {
    let context = context();
    let data = dataset(&context);
    let info = data.info().unwrap();
    assert_eq!((info.ids, info.chunks, info.length), (4000, 250, LENGTH));
    assert_eq!(data.slice(10..30).unwrap().info().unwrap().chunks, 20);
    assert_fails(data.slice(240..251), Status::InvalidArgument, "250");
    assert_fails(Dataset::from_ids(&context, &[1], 2), Status::InvalidArgument, "");

    let path = scratch("text.txt");
    fs::write(&path, "one two three four").unwrap();
    let bytes = Tokenizer::load(&context, "byte", None).unwrap();
    let read = |path| Dataset::from_text_file(&context, &bytes, path, TextFormat::Plain, 6);
    assert_eq!(read(path).unwrap().info().unwrap().chunks, 3);
    assert_fails(read(scratch("missing.txt")), Status::NotFound, "missing.txt");
    assert_eq!(context.sample_pairs(1, 3).unwrap().lines().count(), 3);
}

#[test]
fn pairs_have_labels_and_classifiers_tell_them() {
    let context = context();
    let bytes = Tokenizer::load(&context, "byte", None).unwrap();
    let text = context.sample_pairs(1, 30).unwrap()
        + "{\"gold_label\": \"-\", \"sentence1\": \"a\", \
        \"sentence2\": \"b\"}\n";
    let path = scratch("pairs.jsonl");
    fs::write(&path, &text).unwrap();
    let (data, report) = Dataset::from_snli_file(&context, &bytes, &path, LENGTH).unwrap();
    assert_eq!((report.lines, report.pairs, report.unlabelled, report.cut), (31, 30, 1, 30));
    assert_eq!(report.label_counts.iter().sum::<i64>(), 30);
    let info = data.info().unwrap();
    assert_eq!((info.chunks, &info.label_counts), (30, &report.label_counts));
    let (_, same) = Dataset::from_snli_text(&context, &bytes, &text, LENGTH).unwrap();
    assert_eq!(same, report);
    let wrong = Dataset::from_snli_text(&context, &bytes, "{}", LENGTH);
    assert_fails(wrong.map(drop), Status::Format, "line 1");

    let labelled = [(vec![1, 2, 3], 0), (vec![4], 2)];
    let pairs = Dataset::from_pairs(&context, labelled).unwrap().info().unwrap();
    assert_eq!((pairs.ids, pairs.label_counts), (4, vec![1, 0, 1]));
    assert_fails(Dataset::from_pairs(&context, [([1], 99)]), Status::InvalidArgument, "99");

    let classifier = ModelConfig { num_classes: 3, ..config(Mixer::Grassmann) };
    let model = Model::new(&context, &classifier, 1).unwrap();
    let mut trainer = Trainer::new(&model, &data, &options(3)).unwrap();
    assert_eq!(losses(&mut trainer).len(), 3);
    let found = model.evaluate(&data, 0).unwrap();
    assert_eq!(found.class_counts, report.label_counts);
    let right: i64 = (0..3).map(|class| found.confusion[class][class]).sum();
    assert_eq!(found.accuracy, right as f64 / 30.0);
    assert_eq!(found.confusion.concat().iter().sum::<i64>(), 30);

    let logits = model.classify(&[1, 2, 3, 4, 0, 0], Some(&[3, 1]), 2).unwrap(); // [2, 3]
    let alone = model.classify(&[4], None, 1).unwrap();
    assert!(logits[3..].iter().zip(&alone).all(|(a, b)| (a - b).abs() < 1e-5));
    assert_fails(model.classify(&[1, 2], Some(&[1]), 2), Status::InvalidArgument, "lengths");
    assert_fails(model.forward(&[1], 1), Status::InvalidArgument, "classif");
}

#[test]
fn a_model_knows_its_configuration() {
    let context = context();
    let mut wanted = config(Mixer::Grassmann);
    wanted.window_schedule = WindowSchedule::PerLayer;
    wanted.windows = vec![1, 3];
    wanted.grassmann_heads = 2;
    wanted.window_weights = WindowWeights::Learned;
    let model = Model::new(&context, &wanted, 1).unwrap();
    assert_eq!(model.config().unwrap(), wanted);
    let counted: usize = model.parameters().unwrap().iter().map(|p| p.count()).sum();
    assert_eq!(wanted.count_parameters(&context).unwrap(), counted as i64);
    let (bytes, training) = wanted.bytes(&context, 4, LENGTH).unwrap();
    assert!(4 * counted as i64 <= bytes && bytes < training);

    wanted.windows = vec![1; 65];
    assert_fails(Model::new(&context, &wanted, 1), Status::InvalidArgument, "65");
    wanted.windows = vec![0];
    assert_fails(Model::new(&context, &wanted, 1), Status::InvalidArgument, "windows");
    wanted.windows.clear();
    wanted.grassmann_heads = -1;
    assert_fails(Model::new(&context, &wanted, 1), Status::InvalidArgument, "grassmann_heads");
}

#[test]
fn grassmann_plus_has_heads_and_learns_its_weights() {
    let context = context();
    let plus = ModelConfig { vocab_size: 30522, num_layers: 12, ..ModelConfig::grassmann_plus() };
    assert_eq!((plus.mixer, plus.grassmann_heads), (Mixer::Grassmann, 4));
    assert_eq!((plus.reduced_dim, plus.windows.len()), (16, 12));
    assert_eq!(plus.count_parameters(&context).unwrap(), 17_456_448);

    let small = ModelConfig { vocab_size: 256, model_dim: 16, ff_dim: 32, num_layers: 2, ..plus };
    let model = Model::new(&context, &small, 1).unwrap();
    assert_eq!(model.config().unwrap(), small);
    let name = "blocks.1.grassmann.offset_weight";
    let parameters = model.parameters().unwrap();
    assert_eq!(parameters.iter().find(|p| p.name == name).unwrap().shape, [4, 12]);
    let fresh = model.read_parameter(name).unwrap();
    assert_eq!(fresh, [1.0 / 12.0; 48]);
    // Which would move them as well.
    let undecayed = TrainOptions { weight_decay: 0.0, ..options(1) };
    losses(&mut Trainer::new(&model, &dataset(&context), &undecayed).unwrap());
    assert_ne!(model.read_parameter(name).unwrap(), fresh);
}

#[test]
fn parameters_are_arrays() {
    let model = Model::new(&context(), &config(Mixer::Transformer), 1).unwrap();
    let name = "position_embedding.weight";
    let shape = model.parameters().unwrap().into_iter().find(|p| p.name == name).unwrap().shape;
    assert_eq!(shape, [16, 16]);
    let mut values = model.read_parameter(name).unwrap();
    values[17] = 0.5;
    model.write_parameter(name, &values).unwrap();
    let mut back = vec![0.0; 256];
    model.read_parameter_into(name, &mut back).unwrap();
    assert_eq!(back, values);
    assert_fails(model.read_parameter("none"), Status::NotFound, "none");
    assert_fails(model.write_parameter(name, &[1.0]), Status::InvalidArgument, "256");
}

#[test]
fn logits_are_those_of_every_position() {
    let model = Model::new(&context(), &config(Mixer::Grassmann), 1).unwrap();
    let ids = [1, 2, 3, 4, 5, 6];
    let logits = model.forward(&ids, 2).unwrap(); // [2, 3, 256]
    assert_eq!(logits.len(), 6 * 256);
    let second = model.forward(&ids[3..], 1).unwrap();
    let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
    assert!(logits[3 * 256..].iter().zip(&second).all(close));
    assert!(!logits[..3 * 256].iter().zip(&second).all(close));
    assert_fails(model.forward(&ids, 4), Status::InvalidArgument, "6 ids");
    assert_fails(model.forward(&[1, 999], 1), Status::InvalidArgument, "999");
    assert_fails(model.forward_into(&ids, 2, &mut [0.0; 9]), Status::InvalidArgument, "1536");
}

#[test]
fn progress_cancels_and_training_goes_on() {
    let context = context();
    let model = Model::new(&context, &config(Mixer::Grassmann), 1).unwrap();
    let data = dataset(&context);
    let mut trainer = Trainer::new(&model, &data, &options(8)).unwrap();
    let mut seen = Vec::new();
    let outcome = trainer.train(|report| {
        seen.push(report.step);
        match report.step {
            3 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    assert_eq!((outcome.unwrap(), seen), (Outcome::Cancelled, vec![1, 2, 3]));
    assert_eq!(trainer.state().unwrap().step, 3);
    assert!(trainer.step_without_report().unwrap());
    assert!(model.evaluate(&data, 0).unwrap().loss < 6.0);
    assert_eq!(trainer.train(|_| ControlFlow::Continue(())).unwrap(), Outcome::Complete);
    assert_eq!(trainer.step().unwrap(), None);
    assert!(!trainer.step_without_report().unwrap());
}

#[test]
fn an_evaluation_is_cancelled_in_another_thread() {
    let context = context();
    let model = Model::new(&context, &config(Mixer::Grassmann), 1).unwrap();
    let data = dataset(&context);
    let expected = model.evaluate(&data, 0).unwrap();
    let canceller = context.canceller();
    let other = canceller.clone();
    std::thread::spawn(move || other.cancel()).join().unwrap();
    assert_fails(model.evaluate(&data, 0), Status::Cancelled, "cancelled");
    assert_eq!(model.evaluate(&data, 0).unwrap().loss, expected.loss);
    canceller.cancel();
    canceller.take_back();
    assert_eq!(model.evaluate(&data, 0).unwrap().loss, expected.loss);
    drop((model, data, context));
    std::thread::spawn(move || canceller.cancel()).join().unwrap(); // and frees the context
}

#[test]
fn a_panic_in_progress_leaves_training_usable() {
    let context = context();
    let model = Model::new(&context, &config(Mixer::Grassmann), 1).unwrap();
    let mut trainer = Trainer::new(&model, &dataset(&context), &options(4)).unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| trainer.train(|_| panic!("of the user"))));
    assert!(panicked.is_err());
    assert_eq!(losses(&mut trainer).len(), 3);
}

#[test]
fn a_checkpoint_continues_bit_for_bit() {
    let context = context();
    let data = dataset(&context);
    let path = scratch("checkpoint.safetensors");
    let start = || Model::new(&context, &config(Mixer::Grassmann), 1).unwrap();

    let mut whole = Trainer::new(&start(), &data, &options(6)).unwrap();
    let expected = losses(&mut whole);
    let mut first = Trainer::new(&start(), &data, &options(6)).unwrap();
    assert_eq!(losses_of_three(&mut first), expected[..3]);
    first.save_checkpoint(&path).unwrap();
    let mut second = Trainer::new(&start(), &data, &options(6)).unwrap();
    second.load_checkpoint(&path).unwrap();
    assert_eq!(losses(&mut second), expected[3..]);

    let mut other = Trainer::new(&start(), &data, &options(7)).unwrap();
    assert_fails(other.load_checkpoint(&path), Status::Mismatch, "max_steps");
    let mut invalid = options(1);
    invalid.batch_size = 0;
    assert_fails(Trainer::new(&start(), &data, &invalid), Status::InvalidArgument, "batch_size");
}

fn losses_of_three(trainer: &mut Trainer) -> Vec<f64> {
    trainer.take(3).map(|report| report.unwrap().loss).collect()
}

#[test]
fn models_are_saved_with_their_metadata() {
    let context = context();
    let path = scratch("model.safetensors");
    let model = Model::new(&context, &config(Mixer::Transformer), 7).unwrap();
    model.set_metadata("tokenizer", Some("byte")).unwrap();
    model.save(&path).unwrap();
    let loaded = Model::load(&context, &path).unwrap();
    assert_eq!(loaded.metadata("tokenizer").as_deref(), Some("byte"));
    loaded.set_metadata("tokenizer", None).unwrap();
    assert_eq!(loaded.metadata("tokenizer"), None);
    let data = dataset(&context);
    assert_eq!(loaded.evaluate(&data, 0).unwrap().loss, model.evaluate(&data, 0).unwrap().loss);

    let other = Model::new(&context, &config(Mixer::Grassmann), 7).unwrap();
    assert_fails(other.load_weights(&path), Status::Mismatch, "");
    assert_fails(Model::load(&context, scratch("none")), Status::NotFound, "none");
    assert_fails(model.save("no\0such"), Status::InvalidArgument, "zero byte at position 2");
}

#[test]
fn handles_may_be_dropped_in_any_order() {
    let mut trainer = {
        let context = context();
        let model = Model::new(&context, &config(Mixer::Grassmann), 1).unwrap();
        Trainer::new(&model, &dataset(&context), &options(2)).unwrap()
    };
    assert_eq!(losses(&mut trainer).len(), 2);
}

#[test]
fn operations_are_timed() {
    let context = context();
    context.set_profiling(true).unwrap();
    Model::new(&context, &config(Mixer::Grassmann), 1).unwrap().forward(&[1, 2], 1).unwrap();
    let entries = context.profile().unwrap();
    assert!(entries.iter().any(|entry| entry.name == "linear" && entry.calls > 0), "{entries:?}");
}
