use std::ptr::null_mut;

use grassflow_sys as sys;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::native::sized;

/// What mixes tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mixer {
    /// Pluecker coordinates of token pairs.
    Grassmann,
    /// Causal multi-head attention.
    Transformer,
}

/// Which offsets a Grassmann layer looks back by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowSchedule {
    /// Every layer has the whole list.
    All,
    /// The list divided over the layers, in order.
    PerLayer,
}

/// How a Grassmann layer weighs the pairs that its offsets make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowWeights {
    /// Their mean, over the offsets that reach back to a token.
    Mean,
    /// A parameter, `offset_weight` [heads, offsets of the layer], which begins as one over the
    /// number of offsets.
    Learned,
}

/// The shape of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// What mixes tokens.
    pub mixer: Mixer,
    /// V; no default: must be set, at least 1.
    pub vocab_size: i32,
    /// Longest sequence: learned positions.
    pub max_seq_len: i32,
    /// Blocks.
    pub num_layers: i32,
    /// Model width.
    pub model_dim: i32,
    /// Heads; a divisor of `model_dim` (transformer only).
    pub num_heads: i32,
    /// Reduced width of each head, at least 2 (Grassmann only).
    pub reduced_dim: i32,
    /// Feed-forward width.
    pub ff_dim: i32,
    /// 0: language model; else the classes of a pair classifier, 16 at most.
    pub num_classes: i32,
    /// Probability, from 0 to below 1.
    pub dropout: f32,
    /// Which layer has which of `windows`.
    pub window_schedule: WindowSchedule,
    /// Offsets, each at least 1, 64 at most; empty: 1, 2, 4, 8, 12, 16.
    pub windows: Vec<i32>,
    /// Heads of the Grassmann mixer, each with `reduced_dim` coordinates of its own; 0: 1.
    pub grassmann_heads: i32,
    /// How the offsets are weighed (Grassmann only).
    pub window_weights: WindowWeights,
}

impl ModelConfig {
    /// The defaults of a mixer. The vocabulary stays 0: set it.
    pub fn new(mixer: Mixer) -> ModelConfig {
        let mut raw = sized!(gf_model_config);
        let mixer = match mixer {
            Mixer::Grassmann => sys::GF_MIXER_GRASSMANN,
            Mixer::Transformer => sys::GF_MIXER_TRANSFORMER,
        };
        unsafe { sys::gf_model_config_init_sized(&mut raw, raw.struct_size, mixer) };
        ModelConfig::from_raw(&raw)
    }

    /// grassmann+ with the defaults of the Grassmann mixer for all else: four heads of a reduced
    /// width of 16, twelve offsets from 1 to 64 for every layer, and learned weights. The
    /// vocabulary stays 0: set it.
    pub fn grassmann_plus() -> ModelConfig {
        let mut raw = sized!(gf_model_config);
        unsafe {
            sys::gf_model_config_init_sized(&mut raw, raw.struct_size, sys::GF_MIXER_GRASSMANN);
            sys::gf_model_config_grassmann_plus(&mut raw);
        }
        ModelConfig::from_raw(&raw)
    }

    /// Number of scalars of all parameters; no model is made. Fails with `InvalidArgument`, which
    /// names the field.
    pub fn count_parameters(&self, context: &Context) -> Result<i64> {
        let mut count = 0;
        let raw = self.to_raw()?;
        let shared = &context.shared;
        shared.check(unsafe {
            sys::gf_model_config_count(shared.raw(), &raw, null_mut(), &mut count)
        })?;
        Ok(count)
    }

    /// Bytes that a model takes, and that its training takes with batches of `batch_size` sequences
    /// of `length` ids; no model is made.
    pub fn bytes(&self, context: &Context, batch_size: i32, length: i32) -> Result<(i64, i64)> {
        let (mut model, mut training) = (0, 0);
        let raw = self.to_raw()?;
        let shared = &context.shared;
        shared.check(unsafe {
            sys::gf_model_config_bytes(
                shared.raw(),
                &raw,
                batch_size,
                length,
                &mut model,
                &mut training,
            )
        })?;
        Ok((model, training))
    }

    pub(crate) fn from_raw(raw: &sys::gf_model_config) -> ModelConfig {
        let windows = raw.num_windows.clamp(0, sys::GF_MAX_WINDOWS as i32) as usize;
        ModelConfig {
            mixer: match raw.mixer {
                sys::GF_MIXER_TRANSFORMER => Mixer::Transformer,
                _ => Mixer::Grassmann,
            },
            vocab_size: raw.vocab_size,
            max_seq_len: raw.max_seq_len,
            num_layers: raw.num_layers,
            model_dim: raw.model_dim,
            num_heads: raw.num_heads,
            reduced_dim: raw.reduced_dim,
            ff_dim: raw.ff_dim,
            num_classes: raw.num_classes,
            dropout: raw.dropout,
            window_schedule: match raw.window_schedule {
                sys::GF_WINDOWS_PER_LAYER => WindowSchedule::PerLayer,
                _ => WindowSchedule::All,
            },
            windows: raw.windows[..windows].to_vec(),
            grassmann_heads: raw.grassmann_heads,
            window_weights: match raw.window_weights {
                sys::GF_WINDOW_WEIGHTS_LEARNED => WindowWeights::Learned,
                _ => WindowWeights::Mean,
            },
        }
    }

    pub(crate) fn to_raw(&self) -> Result<sys::gf_model_config> {
        let mut raw = sized!(gf_model_config);
        if self.windows.len() > raw.windows.len() {
            return Err(Error::invalid_argument(format!(
                "windows has {} entries, expected {} at most",
                self.windows.len(),
                raw.windows.len()
            )));
        }
        raw.mixer = match self.mixer {
            Mixer::Grassmann => sys::GF_MIXER_GRASSMANN,
            Mixer::Transformer => sys::GF_MIXER_TRANSFORMER,
        };
        raw.vocab_size = self.vocab_size;
        raw.max_seq_len = self.max_seq_len;
        raw.num_layers = self.num_layers;
        raw.model_dim = self.model_dim;
        raw.num_heads = self.num_heads;
        raw.reduced_dim = self.reduced_dim;
        raw.ff_dim = self.ff_dim;
        raw.num_classes = self.num_classes;
        raw.dropout = self.dropout;
        raw.window_schedule = match self.window_schedule {
            WindowSchedule::All => sys::GF_WINDOWS_ALL,
            WindowSchedule::PerLayer => sys::GF_WINDOWS_PER_LAYER,
        };
        raw.num_windows = self.windows.len() as i32;
        raw.windows[..self.windows.len()].copy_from_slice(&self.windows);
        raw.grassmann_heads = self.grassmann_heads;
        raw.window_weights = match self.window_weights {
            WindowWeights::Mean => sys::GF_WINDOW_WEIGHTS_MEAN,
            WindowWeights::Learned => sys::GF_WINDOW_WEIGHTS_LEARNED,
        };
        Ok(raw)
    }
}
