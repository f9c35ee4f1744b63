//! Twenty steps on the sample corpus: prints, digit for digit, what examples/train_steps.c prints.

use std::ops::ControlFlow;

use grassflow::{
    Context, ContextOptions, Dataset, Mixer, Model, ModelConfig, Result, Special, Tokenizer,
    TrainOptions, Trainer,
};

const TEXT_BYTES: usize = 50_000;
const LENGTH: i32 = 64;
const HELD_OUT_CHUNKS: i64 = 80;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.len() != 2 {
        eprintln!("usage: train_steps MODEL.safetensors");
        std::process::exit(2);
    }
    if let Err(error) = run(&arguments[1]) {
        eprintln!("train_steps: {error}");
        std::process::exit(1);
    }
}

fn run(path: &str) -> Result<()> {
    let context = Context::new(&ContextOptions::default())?;
    let tokenizer = Tokenizer::load(&context, "byte", None)?;
    let ids = tokenizer.encode(context.sample_text(1, TEXT_BYTES)?, Special::Keep)?;
    let all = Dataset::from_ids(&context, &ids, LENGTH)?;
    let chunks = all.info()?.chunks;
    let train = all.slice(0..chunks - HELD_OUT_CHUNKS)?;
    let held_out = all.slice(chunks - HELD_OUT_CHUNKS..chunks)?;

    let config = ModelConfig {
        vocab_size: tokenizer.vocab_size(),
        max_seq_len: LENGTH,
        num_layers: 2,
        model_dim: 64,
        ff_dim: 256,
        ..ModelConfig::new(Mixer::Grassmann)
    };
    let model = Model::new(&context, &config, 1)?;
    let options = TrainOptions { max_steps: 20, warmup_steps: 5, lr: 3e-3, ..Default::default() };
    Trainer::new(&model, &train, &options)?.train(|report| {
        println!("step {:2}  loss {:.12}", report.step, report.loss);
        ControlFlow::Continue(())
    })?;

    print_held_out(&model, &held_out)?;
    model.save(path)?;
    print_held_out(&Model::load(&context, path)?, &held_out)
}

fn print_held_out(model: &Model, held_out: &Dataset) -> Result<()> {
    let report = model.evaluate(held_out, 0)?;
    println!("held-out loss {:.12}  perplexity {:.12}", report.loss, report.perplexity);
    Ok(())
}
