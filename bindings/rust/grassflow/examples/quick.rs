use grassflow::*;

fn main() -> Result<()> {
    let context = Context::new(&ContextOptions::default())?;
    let bytes = Tokenizer::load(&context, "byte", None)?;
    let ids = bytes.encode(context.sample_text(1, 50_000)?, Special::Omit)?;
    let data = Dataset::from_ids(&context, &ids, 64)?;
    let config =
        ModelConfig { vocab_size: 256, model_dim: 64, ..ModelConfig::new(Mixer::Grassmann) };
    let model = Model::new(&context, &config, 1)?;
    let options = TrainOptions { max_steps: 20, warmup_steps: 5, lr: 3e-3, ..Default::default() };
    for report in Trainer::new(&model, &data, &options)? {
        println!("loss {:.4}", report?.loss);
    }
    println!("perplexity {:.1}", model.evaluate(&data.slice(0..80)?, 0)?.perplexity);
    model.save("model.safetensors")
}
