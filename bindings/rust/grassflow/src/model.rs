use std::path::Path;
use std::ptr::null;

use grassflow_sys as sys;

use crate::config::ModelConfig;
use crate::context::Context;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::native::{c_path, c_text, fill, owned_text, sized, Handle};

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
#[derive(Clone, Debug, PartialEq)]
pub struct EvalReport {
    /// Mean cross-entropy over all predicted tokens, or over all pairs, nats.
    pub loss: f64,
    /// exp(loss)
    pub perplexity: f64,
    /// Chunks or pairs.
    pub sequences: i64,
    /// Predicted tokens: sequences * (length - 1); of pairs all ids.
    pub tokens: i64,
    /// Wall-clock time.
    pub seconds: f64,
    /// Share of the pairs whose class has the largest logit; 0 for a language model.
    pub accuracy: f64,
    /// Pairs of each class; empty for a language model, like what follows.
    pub class_counts: Vec<i64>,
    /// Share of a class's pairs that are predicted so; 0 where there are none.
    pub class_accuracy: Vec<f64>,
    /// `confusion[i][j]`: pairs of class i predicted as class j.
    pub confusion: Vec<Vec<i64>>,
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
        let length = sequence_length(ids, batch_size)?;
        let expected = ids.len().saturating_mul(self.config()?.vocab_size as usize);
        if logits.len() != expected {
            return Err(Error::invalid_argument(format!(
                "logits has {} values, expected {expected}",
                logits.len()
            )));
        }
        let logits = logits.as_mut_ptr();
        self.check(unsafe {
            sys::gf_model_forward(self.raw(), ids.as_ptr(), batch_size, length, logits)
        })
    }

    /// Logits \[B, C\] of a classifier's C classes for sequences \[B, T\], without dropout;
    /// `lengths` \[B\] are the ids that count of each, `None`: all. Fails with `InvalidArgument`,
    /// which names the id or length and its place, or the size.
    pub fn classify(
        &self,
        ids: &[i32],
        lengths: Option<&[i32]>,
        batch_size: i32,
    ) -> Result<Vec<f32>> {
        let length = sequence_length(ids, batch_size)?;
        let rows = batch_size as usize;
        if lengths.map_or(false, |lengths| lengths.len() != rows) {
            return Err(Error::invalid_argument(format!("lengths are not {batch_size}")));
        }
        let lengths = lengths.map_or(null(), |lengths| lengths.as_ptr());
        let mut logits = vec![0.0; rows * self.config()?.num_classes as usize];
        let out = logits.as_mut_ptr();
        self.check(unsafe {
            sys::gf_model_classify(self.raw(), ids.as_ptr(), lengths, batch_size, length, out)
        })?;
        Ok(logits)
    }

    /// Mean loss over a dataset, without dropout, `batch_size` sequences at a time; 0: 32. Of a
    /// classifier also how often it is right. Fails with `InvalidArgument` or `OutOfMemory`, and
    /// with `Cancelled` where a [`Canceller`](crate::Canceller) asked for it.
    pub fn evaluate(&self, dataset: &Dataset, batch_size: i32) -> Result<EvalReport> {
        let mut report = sized!(gf_eval_report);
        let status = self.handle.check(unsafe {
            sys::gf_eval(self.raw(), dataset.handle.raw(), batch_size, &mut report)
        })?;
        if status == sys::GF_CANCELLED {
            return Err(Error::from_raw(status, String::new()));
        }
        let classes = report.num_classes as usize;
        let row = |counts: &[i64; sys::GF_MAX_CLASSES]| counts[..classes].to_vec();
        Ok(EvalReport {
            loss: report.loss,
            perplexity: report.perplexity,
            sequences: report.sequences,
            tokens: report.tokens,
            seconds: report.seconds,
            accuracy: report.accuracy,
            class_counts: row(&report.class_counts),
            class_accuracy: report.class_accuracy[..classes].to_vec(),
            confusion: report.confusion[..classes].iter().map(row).collect(),
        })
    }

    pub(crate) fn raw(&self) -> *mut sys::gf_model {
        self.handle.raw()
    }

    fn check(&self, status: sys::gf_status) -> Result<()> {
        self.handle.check(status).map(drop)
    }
}

/// T of ids \[B, T\].
fn sequence_length(ids: &[i32], batch_size: i32) -> Result<i32> {
    let rows = usize::try_from(batch_size).unwrap_or(0);
    if rows == 0 || ids.is_empty() || ids.len() % rows != 0 {
        return Err(Error::invalid_argument(format!(
            "{} ids are no {batch_size} sequences of equal length",
            ids.len()
        )));
    }
    Ok(i32::try_from(ids.len() / rows).unwrap_or(i32::MAX)) // too long in any case
}
