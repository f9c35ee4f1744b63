use std::ops::ControlFlow;
use std::path::Path;
use std::ptr::null_mut;

use grassflow_sys as sys;

use crate::dataset::Dataset;
use crate::error::Result;
use crate::model::Model;
use crate::native::{c_path, sized, Handle};

/// Shape of the learning rate after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Cosine from `lr` to `min_lr`, which the last step reaches.
    Cosine,
    /// Cosine over epochs, constant inside each.
    CosineEpoch,
    /// `lr`
    Constant,
}

/// Optimizer (AdamW) and schedule; the default is the study's recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOptions {
    /// Sequences of a step; the last of an epoch may be short.
    pub batch_size: i32,
    /// Passes over the dataset.
    pub epochs: i32,
    /// Ends training after so many steps; 0: epochs decide.
    pub max_steps: i64,
    /// Highest learning rate.
    pub lr: f64,
    /// Last learning rate of the cosine.
    pub min_lr: f64,
    /// Steps of linear growth from lr / (warmup_steps + 1).
    pub warmup_steps: i64,
    /// Shape of the learning rate after them.
    pub schedule: Schedule,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Of every parameter.
    pub weight_decay: f64,
    /// Largest global gradient norm; 0: no clipping.
    pub grad_clip: f64,
    /// Of the shuffle and of dropout.
    pub seed: u64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        let mut raw = sized!(gf_train_options);
        unsafe { sys::gf_train_options_init_sized(&mut raw, raw.struct_size) };
        TrainOptions {
            batch_size: raw.batch_size,
            epochs: raw.epochs,
            max_steps: raw.max_steps,
            lr: raw.lr,
            min_lr: raw.min_lr,
            warmup_steps: raw.warmup_steps,
            schedule: match raw.schedule {
                sys::GF_SCHEDULE_COSINE_EPOCH => Schedule::CosineEpoch,
                sys::GF_SCHEDULE_CONSTANT => Schedule::Constant,
                _ => Schedule::Cosine,
            },
            beta1: raw.beta1,
            beta2: raw.beta2,
            epsilon: raw.epsilon,
            weight_decay: raw.weight_decay,
            grad_clip: raw.grad_clip,
            seed: raw.seed,
        }
    }
}

impl TrainOptions {
    fn to_raw(&self) -> sys::gf_train_options {
        let mut raw = sized!(gf_train_options);
        raw.batch_size = self.batch_size;
        raw.epochs = self.epochs;
        raw.max_steps = self.max_steps;
        raw.lr = self.lr;
        raw.min_lr = self.min_lr;
        raw.warmup_steps = self.warmup_steps;
        raw.schedule = match self.schedule {
            Schedule::Cosine => sys::GF_SCHEDULE_COSINE,
            Schedule::CosineEpoch => sys::GF_SCHEDULE_COSINE_EPOCH,
            Schedule::Constant => sys::GF_SCHEDULE_CONSTANT,
        };
        raw.beta1 = self.beta1;
        raw.beta2 = self.beta2;
        raw.epsilon = self.epsilon;
        raw.weight_decay = self.weight_decay;
        raw.grad_clip = self.grad_clip;
        raw.seed = self.seed;
        raw
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainReport {
    /// Steps done, this one included.
    pub step: i64,
    /// Steps of the whole training.
    pub total_steps: i64,
    /// Epoch of this step, from 0.
    pub epoch: i32,
    /// Mean cross-entropy of the batch before the update, nats per predicted token or per pair.
    pub loss: f64,
    /// Global L2 norm before clipping.
    pub gradient_norm: f64,
    /// Of this step's update.
    pub learning_rate: f64,
    /// Ids of the batch, padding left out.
    pub tokens: i64,
    /// Wall-clock time of this step.
    pub seconds: f64,
}

/// Where training stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainState {
    /// Steps done.
    pub step: i64,
    /// Steps of the whole training.
    pub total_steps: i64,
    /// Steps of one epoch.
    pub steps_per_epoch: i64,
    /// Epoch of the next step, from 0.
    pub epoch: i32,
    /// Mean loss of the steps of the epoch of the last step; 0 before the first.
    pub epoch_loss: f64,
    /// Ids of the batches of all steps done, padding left out.
    pub tokens: i64,
}

/// How [`Trainer::train`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No step is left.
    Complete,
    /// The progress closure broke off; training can go on or be saved.
    Cancelled,
}

/// A model in training. Iterating does the steps: `for report in &mut trainer`.
///
/// The model may be evaluated, saved and read between steps.
pub struct Trainer {
    handle: Handle<sys::gf_trainer>,
}

impl Trainer {
    /// Allocates all that training needs, on chunks for a language model and on pairs for a
    /// classifier. Fails with `InvalidArgument`, which names the option, or the id or label and its
    /// place, or with `OutOfMemory`.
    pub fn new(model: &Model, dataset: &Dataset, options: &TrainOptions) -> Result<Trainer> {
        let raw = options.to_raw();
        let handle = Handle::create(&model.handle.shared, sys::gf_trainer_free, |out| unsafe {
            sys::gf_trainer_create(model.raw(), dataset.handle.raw(), &raw, out)
        })?;
        Ok(Trainer { handle })
    }

    /// One step: next batch, forward, backward, clip, AdamW; `None` when no step is left. Fails
    /// with `NotFinite`, the weights those before the step.
    pub fn step(&mut self) -> Result<Option<TrainReport>> {
        let mut raw = sized!(gf_train_report);
        let status = unsafe { sys::gf_train_step(self.handle.raw(), &mut raw) };
        if self.handle.check(status)? == sys::GF_END {
            return Ok(None);
        }
        Ok(Some(TrainReport {
            step: raw.step,
            total_steps: raw.total_steps,
            epoch: raw.epoch,
            loss: raw.loss,
            gradient_norm: raw.gradient_norm,
            learning_rate: raw.learning_rate,
            tokens: raw.tokens,
            seconds: raw.seconds,
        }))
    }

    /// A step without its report; `false` when none is left. On a GPU it returns at once and steps
    /// queue up; an error of one of them is returned by a later call.
    pub fn step_without_report(&mut self) -> Result<bool> {
        let status = unsafe { sys::gf_train_step(self.handle.raw(), null_mut()) };
        Ok(self.handle.check(status)? != sys::GF_END)
    }

    /// All steps that are left, `progress` called after each. `ControlFlow::Break` cancels.
    ///
    /// The closure runs between the calls of the library, not inside one: it may use the model, and
    /// a panic unwinds through Rust alone.
    pub fn train(
        &mut self,
        mut progress: impl FnMut(&TrainReport) -> ControlFlow<()>,
    ) -> Result<Outcome> {
        while let Some(report) = self.step()? {
            if progress(&report).is_break() {
                return Ok(Outcome::Cancelled);
            }
        }
        Ok(Outcome::Complete)
    }

    /// Where training stands; waits for steps that are queued.
    pub fn state(&mut self) -> Result<TrainState> {
        let mut raw = sized!(gf_train_state);
        self.handle.check(unsafe { sys::gf_trainer_get_state(self.handle.raw(), &mut raw) })?;
        Ok(TrainState {
            step: raw.step,
            total_steps: raw.total_steps,
            steps_per_epoch: raw.steps_per_epoch,
            epoch: raw.epoch,
            epoch_loss: raw.epoch_loss,
            tokens: raw.tokens,
        })
    }

    /// Writes all that is needed to go on, bit-equal to never having stopped; an earlier file stays
    /// whole if anything fails. Fails with `Io`.
    pub fn save_checkpoint(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = c_path(path)?;
        let status = unsafe { sys::gf_checkpoint_save(self.handle.raw(), path.as_ptr()) };
        self.handle.check(status).map(drop)
    }

    /// Goes on from a checkpoint of a trainer with the same configuration, data and options. Fails
    /// with `NotFound`, `Io`, `Format` or `Mismatch`, the trainer untouched.
    pub fn load_checkpoint(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = c_path(path)?;
        let status = unsafe { sys::gf_checkpoint_load(self.handle.raw(), path.as_ptr()) };
        self.handle.check(status).map(drop)
    }
}

impl Iterator for Trainer {
    type Item = Result<TrainReport>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}
