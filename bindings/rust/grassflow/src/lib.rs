//! Train and evaluate small language models: the attention-free Grassmann-flow model and a
//! transformer of its size, through the installed libgrassflow.
//!
//! [`Context`] owns a device; from it come [`Tokenizer`], [`Dataset`] and [`Model`]; a [`Trainer`]
//! joins a model and a dataset. Handles are counted references: drop them in any order.
//!
//! ```
//! use grassflow::*;
//!
//! let context = Context::new(&ContextOptions { threads: 1, ..Default::default() })?;
//! let config = ModelConfig { vocab_size: 256, ..ModelConfig::new(Mixer::Grassmann) };
//! let model = Model::new(&context, &config, 1)?;
//! let embedding = model.read_parameter("token_embedding.weight")?; // [V, D]
//! assert_eq!(embedding.len(), 256 * 256);
//! # Ok::<(), Error>(())
//! ```
//!
//! Shapes are written with B sequences, T tokens of one sequence, a vocabulary of V and a width of
//! D; matrices are row-major. Losses are in nats per predicted token,
//! or per pair. Sizes, counts and steps have
//! the types that they have in C, so that a wrong one meets the library's own check, whose text
//! names it.
//!
//! # Threads
//!
//! A context and all that came from it belong to one thread at a time, a rule about the whole group
//! that no type of a single handle could express: handles are neither `Send` nor `Sync`, and every
//! thread that trains makes a context of its own. A [`Canceller`] alone, which ends an evaluation,
//! goes to other threads.
//!
//! ```compile_fail,E0277
//! fn to_another_thread<T: Send>(_: T) {}
//! let context = grassflow::Context::new(&Default::default()).unwrap();
//! to_another_thread(context);
//! ```

#![warn(missing_docs)]

mod config;
mod context;
mod dataset;
mod error;
mod model;
mod native;
mod tokenizer;
mod trainer;

pub use config::{Mixer, ModelConfig, WindowSchedule, WindowWeights};
pub use context::{Canceller, Context, ContextOptions, ProfileEntry};
pub use dataset::{Dataset, DatasetInfo, PairReport, TextFormat, SNLI_CLASSES};
pub use error::{Error, Result, Status};
pub use model::{EvalReport, Model, Parameter};
pub use tokenizer::{Special, SpecialIds, Tokenizer};
pub use trainer::{Outcome, Schedule, TrainOptions, TrainReport, TrainState, Trainer};

/// Version of the library that runs, such as "0.1.0".
pub fn version() -> &'static str {
    native::static_text(unsafe { grassflow_sys::gf_version_string() })
}
