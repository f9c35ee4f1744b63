use std::path::Path;
use std::ptr::{null, null_mut};

use grassflow_sys as sys;

use crate::context::Context;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::native::{c_path, c_text, fill, owned_text, sized, Handle};

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
    /// Reduced width, at least 2 (Grassmann only).
    pub reduced_dim: i32,
    /// Feed-forward width.
    pub ff_dim: i32,
    /// 0: language model; else the classes of a pair classifier.
    pub num_classes: i32,
    /// Probability, from 0 to below 1.
    pub dropout: f32,
    /// Which layer has which of `windows`.
    pub window_schedule: WindowSchedule,
    /// Offsets, each at least 1, 64 at most; empty: 1, 2, 4, 8, 12, 16.
    pub windows: Vec<i32>,
}

impl ModelConfig {
    /// The defaults of a mixer. The vocabulary stays 0: set it.
    pub fn new(mixer: Mixer) -> ModelConfig {
        let mut raw = sized!(gf_model_config);
        let mixer = match mixer {
            Mixer::Grassmann => sys::GF_MIXER_GRASSMANN,
            Mixer::Transformer => sys::GF_MIXER_TRANSFORMER,
        };
        unsafe { sys::gf_model_config_init(&mut raw, mixer) };
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

    fn from_raw(raw: &sys::gf_model_config) -> ModelConfig {
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
        }
    }

    fn to_raw(&self) -> Result<sys::gf_model_config> {
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
        Ok(raw)
    }
}

/// Name and shape of one parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// As in PyTorch's state_dict, such as "blocks.0.grassmann.W_red.weight".
    pub name: String,
    /// One or two extents, outermost first.
    pub shape: Vec<usize>,
}

impl Parameter {
    /// Number of values.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// What an evaluation found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EvalReport {
    /// Mean cross-entropy over all predicted tokens, nats.
    pub loss: f64,
    /// exp(loss)
    pub perplexity: f64,
    /// Chunks.
    pub sequences: i64,
    /// Predicted tokens: sequences * (length - 1).
    pub tokens: i64,
    /// Wall-clock time.
    pub seconds: f64,
}

/// Parameters of one model on a context's device.
pub struct Model {
    pub(crate) handle: Handle<sys::gf_model>,
}

impl Model {
    /// A model with fresh weights; equal seeds give equal weights on every device. Fails with
    /// `InvalidArgument`, which names the field, or `OutOfMemory`.
    pub fn new(context: &Context, config: &ModelConfig, seed: u64) -> Result<Model> {
        let raw = config.to_raw()?;
        let shared = &context.shared;
        let handle = Handle::create(shared, sys::gf_model_free, |out| unsafe {
            sys::gf_model_create(shared.raw(), &raw, seed, out)
        })?;
        Ok(Model { handle })
    }

    /// Loads what [`Model::save`] or a trainer's checkpoint wrote. Fails with `NotFound`, `Io`,
    /// `Format` or `Mismatch`, which names the tensor and both shapes.
    pub fn load(context: &Context, path: impl AsRef<Path>) -> Result<Model> {
        let path = c_path(path)?;
        let shared = &context.shared;
        let handle = Handle::create(shared, sys::gf_model_free, |out| unsafe {
            sys::gf_model_load(shared.raw(), path.as_ptr(), out)
        })?;
        Ok(Model { handle })
    }

    /// Reads the weights of a file of the same shape, for example one that PyTorch wrote. Fails
    /// like [`Model::load`], the weights untouched.
    pub fn load_weights(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = c_path(path)?;
        self.check(unsafe { sys::gf_model_load_weights(self.raw(), path.as_ptr()) })
    }

    /// Writes weights, configuration and metadata as safetensors; an earlier file stays whole if
    /// anything fails. Fails with `Io`.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = c_path(path)?;
        self.check(unsafe { sys::gf_model_save(self.raw(), path.as_ptr()) })
    }

    /// The configuration it was made with.
    pub fn config(&self) -> Result<ModelConfig> {
        let mut raw = sized!(gf_model_config);
        self.check(unsafe { sys::gf_model_get_config(self.raw(), &mut raw) })?;
        Ok(ModelConfig::from_raw(&raw))
    }

    /// Attaches a text that checkpoints will carry; `None` removes it. Keys that begin with "gf."
    /// are the library's own.
    pub fn set_metadata(&self, key: &str, value: Option<&str>) -> Result<()> {
        let key = c_text("key", key)?;
        let value = value.map(|v| c_text("value", v)).transpose()?;
        let value = value.as_ref().map_or(null(), |v| v.as_ptr());
        self.check(unsafe { sys::gf_model_set_metadata(self.raw(), key.as_ptr(), value) })
    }

    /// A text attached to the model.
    pub fn metadata(&self, key: &str) -> Option<String> {
        let key = c_text("key", key).ok()?;
        let value = unsafe { sys::gf_model_metadata(self.raw(), key.as_ptr()) };
        (!value.is_null()).then(|| owned_text(value))
    }

    /// Names and shapes of the parameters, in their fixed order.
    pub fn parameters(&self) -> Result<Vec<Parameter>> {
        let shared = &self.handle.shared;
        let raw = fill(shared, sized!(gf_parameter), 128, |out, capacity, count| unsafe {
            sys::gf_model_parameters(self.raw(), out, capacity, count)
        })?;
        let parameter = |p: &sys::gf_parameter| Parameter {
            name: owned_text(p.name.as_ptr()),
            shape: p.shape[..p.dims as usize].iter().map(|&extent| extent as usize).collect(),
        };
        Ok(raw.iter().map(parameter).collect())
    }

    /// Copies one parameter out, row-major. Fails with `NotFound`.
    pub fn read_parameter(&self, name: &str) -> Result<Vec<f32>> {
        // An unknown name is left to the library, which says so.
        let parameters = self.parameters()?;
        let count = parameters.iter().find(|p| p.name == name).map_or(0, Parameter::count);
        let mut values = vec![0.0; count];
        self.read_parameter_into(name, &mut values)?;
        Ok(values)
    }

    /// Copies one parameter into a slice of exactly its size. Fails with `NotFound` or
    /// `InvalidArgument`, which says the size.
    pub fn read_parameter_into(&self, name: &str, values: &mut [f32]) -> Result<()> {
        let name = c_text("name", name)?;
        self.check(unsafe {
            sys::gf_model_read_parameter(
                self.raw(),
                name.as_ptr(),
                values.as_mut_ptr(),
                values.len(),
            )
        })
    }

    /// Replaces one parameter by as many values, row-major. Fails like
    /// [`Model::read_parameter_into`].
    pub fn write_parameter(&self, name: &str, values: &[f32]) -> Result<()> {
        let name = c_text("name", name)?;
        self.check(unsafe {
            sys::gf_model_write_parameter(self.raw(), name.as_ptr(), values.as_ptr(), values.len())
        })
    }

    /// Logits \[B, T, V\] of every position of ids \[B, T\], without dropout. Fails with
    /// `InvalidArgument`, which names the id and its place, or the size.
    pub fn forward(&self, ids: &[i32], batch_size: i32) -> Result<Vec<f32>> {
        let vocab_size = self.config()?.vocab_size as usize;
        let mut logits = vec![0.0; ids.len().saturating_mul(vocab_size)];
        self.forward_into(ids, batch_size, &mut logits)?;
        Ok(logits)
    }

    /// [`Model::forward`] into a slice of B * T * V values.
    pub fn forward_into(&self, ids: &[i32], batch_size: i32, logits: &mut [f32]) -> Result<()> {
        let rows = usize::try_from(batch_size).unwrap_or(0);
        if rows == 0 || ids.is_empty() || ids.len() % rows != 0 {
            return Err(Error::invalid_argument(format!(
                "{} ids are no {batch_size} sequences of equal length",
                ids.len()
            )));
        }
        let expected = ids.len().saturating_mul(self.config()?.vocab_size as usize);
        if logits.len() != expected {
            return Err(Error::invalid_argument(format!(
                "logits has {} values, expected {expected}",
                logits.len()
            )));
        }
        let length = i32::try_from(ids.len() / rows).unwrap_or(i32::MAX);
        self.check(unsafe {
            sys::gf_model_forward(self.raw(), ids.as_ptr(), batch_size, length, logits.as_mut_ptr())
        })
    }

    /// Mean loss over a dataset, without dropout, `batch_size` sequences at a time; 0: 32. Fails
    /// with `InvalidArgument` or `OutOfMemory`.
    pub fn evaluate(&self, dataset: &Dataset, batch_size: i32) -> Result<EvalReport> {
        let mut report = sized!(gf_eval_report);
        self.check(unsafe {
            sys::gf_eval(self.raw(), dataset.handle.raw(), batch_size, &mut report)
        })?;
        Ok(EvalReport {
            loss: report.loss,
            perplexity: report.perplexity,
            sequences: report.sequences,
            tokens: report.tokens,
            seconds: report.seconds,
        })
    }

    pub(crate) fn raw(&self) -> *mut sys::gf_model {
        self.handle.raw()
    }

    fn check(&self, status: sys::gf_status) -> Result<()> {
        self.handle.check(status).map(drop)
    }
}
