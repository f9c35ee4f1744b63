//! Declarations of libgrassflow's C API, written by hand; the crate `grassflow` is the safe side.
//!
//! Every name, struct and function is that of `grassflow.h`, which is the manual. The tests of this
//! crate hold sizes, offsets, values and signatures against the installed header.

#![allow(non_camel_case_types)]

use std::marker::{PhantomData, PhantomPinned};
use std::os::raw::{c_char, c_int, c_void};

/// Outcome of a call: 0 is success, positive values are not failures, negative ones are.
pub type gf_status = c_int;
pub const GF_OK: gf_status = 0;
pub const GF_CANCELLED: gf_status = 1;
pub const GF_END: gf_status = 2;
pub const GF_ERROR_INVALID_ARGUMENT: gf_status = -1;
pub const GF_ERROR_OUT_OF_MEMORY: gf_status = -2;
pub const GF_ERROR_NOT_FOUND: gf_status = -3;
pub const GF_ERROR_IO: gf_status = -4;
pub const GF_ERROR_FORMAT: gf_status = -5;
pub const GF_ERROR_MISMATCH: gf_status = -6;
pub const GF_ERROR_NOT_FINITE: gf_status = -7;
pub const GF_ERROR_DEVICE: gf_status = -8;
pub const GF_ERROR_UNSUPPORTED: gf_status = -9;
pub const GF_ERROR_INTERNAL: gf_status = -10;

/// Severity of a log line.
pub type gf_log_level = c_int;
pub const GF_LOG_DEBUG: gf_log_level = 0;
pub const GF_LOG_INFO: gf_log_level = 1;
pub const GF_LOG_WARNING: gf_log_level = 2;

/// How a text file becomes one text.
pub type gf_text_format = c_int;
pub const GF_TEXT_PLAIN: gf_text_format = 0;
pub const GF_TEXT_WIKITEXT: gf_text_format = 1;

/// Most classes of a pair classifier.
pub const GF_MAX_CLASSES: usize = 16;
/// Classes of SNLI, in the order in which they are numbered.
pub const GF_SNLI_ENTAILMENT: i32 = 0;
pub const GF_SNLI_NEUTRAL: i32 = 1;
pub const GF_SNLI_CONTRADICTION: i32 = 2;
pub const GF_SNLI_CLASSES: i32 = 3;

/// What mixes tokens.
pub type gf_mixer = c_int;
pub const GF_MIXER_GRASSMANN: gf_mixer = 0;
pub const GF_MIXER_TRANSFORMER: gf_mixer = 1;

/// Which offsets a Grassmann layer looks back by.
pub type gf_window_schedule = c_int;
pub const GF_WINDOWS_ALL: gf_window_schedule = 0;
pub const GF_WINDOWS_PER_LAYER: gf_window_schedule = 1;

/// How a Grassmann layer weighs the pairs that its offsets make.
pub type gf_window_weights = c_int;
pub const GF_WINDOW_WEIGHTS_MEAN: gf_window_weights = 0;
pub const GF_WINDOW_WEIGHTS_LEARNED: gf_window_weights = 1;

/// Shape of the learning rate after the warm-up.
pub type gf_schedule = c_int;
pub const GF_SCHEDULE_COSINE: gf_schedule = 0;
pub const GF_SCHEDULE_COSINE_EPOCH: gf_schedule = 1;
pub const GF_SCHEDULE_CONSTANT: gf_schedule = 2;

/// Flag of encoding and decoding: special tokens stay away.
pub const GF_NO_SPECIAL: u32 = 1;
/// Room in [`gf_model_config::windows`].
pub const GF_MAX_WINDOWS: usize = 64;
/// Longest parameter name with its terminating zero.
pub const GF_MAX_NAME: usize = 96;
/// Version of the header that these declarations follow.
pub const GF_VERSION: c_int = 100;

pub type gf_log_fn = Option<unsafe extern "C" fn(gf_log_level, *const c_char, *mut c_void)>;
pub type gf_allocate_fn = Option<unsafe extern "C" fn(usize, usize, *mut c_void) -> *mut c_void>;
pub type gf_release_fn = Option<unsafe extern "C" fn(*mut c_void, usize, *mut c_void)>;
pub type gf_progress_fn =
    Option<unsafe extern "C" fn(*const gf_train_report, *mut c_void) -> c_int>;

macro_rules! opaque {
    ($($name:ident)*) => { $(
        /// An opaque handle, only ever seen behind a pointer.
        #[repr(C)]
        pub struct $name {
            _private: [u8; 0],
            // Neither Send, Sync nor Unpin.
            _marker: PhantomData<(*mut u8, PhantomPinned)>,
        }
    )* };
}
opaque!(gf_context gf_tokenizer gf_dataset gf_model gf_trainer);

macro_rules! structs {
    ($($(#[$doc:meta])* struct $name:ident { $($field:ident: $type:ty,)* })*) => { $(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy)]
        pub struct $name { $(pub $field: $type,)* }
    )*

        /// Name, size and (field, offset) of every struct, for the test that asks a C compiler.
        #[doc(hidden)]
        pub fn layouts() -> Vec<(&'static str, usize, Vec<(&'static str, usize)>)> {
            vec![$({
                let value = std::mem::MaybeUninit::<$name>::uninit();
                let base = value.as_ptr();
                // Addresses are taken, nothing is read.
                let fields = vec![$((stringify!($field), unsafe {
                    std::ptr::addr_of!((*base).$field) as usize - base as usize
                }),)*];
                (stringify!($name), std::mem::size_of::<$name>(), fields)
            },)*]
        }
    };
}
structs! {
    /// How a context is set up.
    struct gf_context_options {
        struct_size: usize,
        device: *const c_char,
        precision: *const c_char,
        threads: i32,
        log: gf_log_fn,
        log_user: *mut c_void,
        allocate: gf_allocate_fn,
        release: gf_release_fn,
        allocator_user: *mut c_void,
        attention: *const c_char,
    }

    /// Time of one kind of operation.
    struct gf_profile_entry {
        struct_size: usize,
        name: [c_char; 48],
        calls: i64,
        seconds: f64,
    }

    /// Ids of the tokens that are no text; -1 where the vocabulary has none.
    struct gf_special_ids {
        struct_size: usize,
        pad: i32,
        unknown: i32,
        begin: i32,
        separator: i32,
        end: i32,
    }

    /// What a file of pairs held.
    struct gf_pair_report {
        struct_size: usize,
        lines: i64,
        pairs: i64,
        unlabelled: i64,
        empty: i64,
        cut: i64,
        longest: i32,
        mean_length: f64,
        label_counts: [i64; GF_MAX_CLASSES],
    }

    /// What a dataset holds.
    struct gf_dataset_info {
        struct_size: usize,
        ids: i64,
        chunks: i64,
        length: i32,
        buckets: i32,
        tokens: i64,
        padded_tokens: i64,
        num_labels: i32,
        label_counts: [i64; GF_MAX_CLASSES],
    }

    /// The shape of a model.
    struct gf_model_config {
        struct_size: usize,
        mixer: gf_mixer,
        vocab_size: i32,
        max_seq_len: i32,
        num_layers: i32,
        model_dim: i32,
        num_heads: i32,
        reduced_dim: i32,
        ff_dim: i32,
        num_classes: i32,
        dropout: f32,
        window_schedule: gf_window_schedule,
        num_windows: i32,
        windows: [i32; GF_MAX_WINDOWS],
        grassmann_heads: i32,
        window_weights: gf_window_weights,
    }

    /// One parameter.
    struct gf_parameter {
        struct_size: usize,
        name: [c_char; GF_MAX_NAME],
        dims: i32,
        shape: [i64; 2],
    }

    /// What a step did.
    struct gf_train_report {
        struct_size: usize,
        step: i64,
        total_steps: i64,
        epoch: i32,
        loss: f64,
        gradient_norm: f64,
        learning_rate: f64,
        tokens: i64,
        seconds: f64,
    }

    /// Optimizer (AdamW) and schedule.
    struct gf_train_options {
        struct_size: usize,
        batch_size: i32,
        epochs: i32,
        max_steps: i64,
        lr: f64,
        min_lr: f64,
        warmup_steps: i64,
        schedule: gf_schedule,
        beta1: f64,
        beta2: f64,
        epsilon: f64,
        weight_decay: f64,
        grad_clip: f64,
        seed: u64,
        progress: gf_progress_fn,
        progress_user: *mut c_void,
    }

    /// Where training stands.
    struct gf_train_state {
        struct_size: usize,
        step: i64,
        total_steps: i64,
        steps_per_epoch: i64,
        epoch: i32,
        epoch_loss: f64,
        tokens: i64,
    }

    /// What an evaluation found.
    struct gf_eval_report {
        struct_size: usize,
        loss: f64,
        perplexity: f64,
        sequences: i64,
        tokens: i64,
        seconds: f64,
        accuracy: f64,
        num_classes: i32,
        class_counts: [i64; GF_MAX_CLASSES],
        class_accuracy: [f64; GF_MAX_CLASSES],
        confusion: [[i64; GF_MAX_CLASSES]; GF_MAX_CLASSES],
    }
}

#[rustfmt::skip] // one declaration like the other, however long
extern "C" {
    pub fn gf_status_name(status: gf_status) -> *const c_char;
    pub fn gf_status_text(status: gf_status) -> *const c_char;
    pub fn gf_version() -> c_int;
    pub fn gf_version_string() -> *const c_char;

    pub fn gf_context_options_init_sized(options: *mut gf_context_options, struct_size: usize);
    pub fn gf_context_create(options: *const gf_context_options, out: *mut *mut gf_context,
                             error: *mut c_char, error_size: usize) -> gf_status;
    pub fn gf_context_free(context: *mut gf_context);
    pub fn gf_context_error(context: *const gf_context) -> *const c_char;
    pub fn gf_context_description(context: *const gf_context) -> *const c_char;
    pub fn gf_context_cancel(context: *mut gf_context, on: c_int);
    pub fn gf_context_set_profiling(context: *mut gf_context, on: c_int) -> gf_status;
    pub fn gf_context_profile(context: *mut gf_context, out: *mut gf_profile_entry, capacity: usize,
                              count: *mut usize) -> gf_status;

    pub fn gf_tokenizer_load(context: *mut gf_context, name: *const c_char,
                             directory: *const c_char, out: *mut *mut gf_tokenizer) -> gf_status;
    pub fn gf_tokenizer_free(tokenizer: *mut gf_tokenizer);
    pub fn gf_tokenizer_name(tokenizer: *const gf_tokenizer) -> *const c_char;
    pub fn gf_tokenizer_vocab_size(tokenizer: *const gf_tokenizer) -> i32;
    pub fn gf_tokenizer_special_ids(tokenizer: *const gf_tokenizer,
                                    out: *mut gf_special_ids) -> gf_status;
    pub fn gf_tokenizer_encode(tokenizer: *const gf_tokenizer, text: *const c_char, length: usize,
                               flags: u32, ids: *mut i32, capacity: usize,
                               count: *mut usize) -> gf_status;
    pub fn gf_tokenizer_encode_pair(tokenizer: *const gf_tokenizer, a: *const c_char,
                                    b: *const c_char, flags: u32, max_ids: usize, ids: *mut i32,
                                    capacity: usize, count: *mut usize) -> gf_status;
    pub fn gf_tokenizer_decode(tokenizer: *const gf_tokenizer, ids: *const i32, count: usize,
                               flags: u32, text: *mut c_char, capacity: usize,
                               length: *mut usize) -> gf_status;

    pub fn gf_dataset_from_ids(context: *mut gf_context, ids: *const i32, count: usize, length: i32,
                               out: *mut *mut gf_dataset) -> gf_status;
    pub fn gf_dataset_from_text_file(context: *mut gf_context, tokenizer: *const gf_tokenizer,
                                     path: *const c_char, format: gf_text_format, length: i32,
                                     out: *mut *mut gf_dataset) -> gf_status;
    pub fn gf_dataset_from_pairs(context: *mut gf_context, ids: *const i32, lengths: *const i32,
                                 labels: *const i32, count: usize,
                                 out: *mut *mut gf_dataset) -> gf_status;
    pub fn gf_dataset_from_snli_file(context: *mut gf_context, tokenizer: *const gf_tokenizer,
                                     path: *const c_char, max_length: i32,
                                     report: *mut gf_pair_report,
                                     out: *mut *mut gf_dataset) -> gf_status;
    pub fn gf_dataset_from_snli_text(context: *mut gf_context, tokenizer: *const gf_tokenizer,
                                     text: *const c_char, size: usize, max_length: i32,
                                     report: *mut gf_pair_report,
                                     out: *mut *mut gf_dataset) -> gf_status;
    pub fn gf_dataset_slice(dataset: *const gf_dataset, first: i64, count: i64,
                            out: *mut *mut gf_dataset) -> gf_status;
    pub fn gf_dataset_free(dataset: *mut gf_dataset);
    pub fn gf_dataset_get_info(dataset: *const gf_dataset, out: *mut gf_dataset_info) -> gf_status;
    pub fn gf_sample_text(context: *mut gf_context, seed: u64, text: *mut c_char,
                          length: usize) -> gf_status;
    pub fn gf_sample_pairs(context: *mut gf_context, seed: u64, pairs: i64, text: *mut c_char,
                           capacity: usize, length: *mut usize) -> gf_status;

    pub fn gf_model_config_init_sized(config: *mut gf_model_config, struct_size: usize,
                                      mixer: gf_mixer);
    pub fn gf_model_config_grassmann_plus(config: *mut gf_model_config);
    pub fn gf_model_config_count(context: *mut gf_context, config: *const gf_model_config,
                                 tensors: *mut i32, parameters: *mut i64) -> gf_status;
    pub fn gf_model_config_parameter(context: *mut gf_context, config: *const gf_model_config,
                                     index: i32, out: *mut gf_parameter) -> gf_status;
    pub fn gf_model_config_bytes(context: *mut gf_context, config: *const gf_model_config,
                                 batch_size: i32, length: i32, model_bytes: *mut i64,
                                 training_bytes: *mut i64) -> gf_status;
    pub fn gf_model_create(context: *mut gf_context, config: *const gf_model_config, seed: u64,
                           out: *mut *mut gf_model) -> gf_status;
    pub fn gf_model_load(context: *mut gf_context, path: *const c_char,
                         out: *mut *mut gf_model) -> gf_status;
    pub fn gf_model_load_weights(model: *mut gf_model, path: *const c_char) -> gf_status;
    pub fn gf_model_save(model: *mut gf_model, path: *const c_char) -> gf_status;
    pub fn gf_model_free(model: *mut gf_model);
    pub fn gf_model_get_config(model: *const gf_model, out: *mut gf_model_config) -> gf_status;
    pub fn gf_model_set_metadata(model: *mut gf_model, key: *const c_char,
                                 value: *const c_char) -> gf_status;
    pub fn gf_model_metadata(model: *const gf_model, key: *const c_char) -> *const c_char;
    pub fn gf_model_parameters(model: *const gf_model, out: *mut gf_parameter, capacity: usize,
                               count: *mut usize) -> gf_status;
    pub fn gf_model_read_parameter(model: *mut gf_model, name: *const c_char, values: *mut f32,
                                   count: usize) -> gf_status;
    pub fn gf_model_write_parameter(model: *mut gf_model, name: *const c_char, values: *const f32,
                                    count: usize) -> gf_status;
    pub fn gf_model_forward(model: *mut gf_model, ids: *const i32, batch_size: i32, length: i32,
                            logits: *mut f32) -> gf_status;
    pub fn gf_model_classify(model: *mut gf_model, ids: *const i32, lengths: *const i32,
                             batch_size: i32, length: i32, logits: *mut f32) -> gf_status;

    pub fn gf_train_options_init_sized(options: *mut gf_train_options, struct_size: usize);
    pub fn gf_trainer_create(model: *mut gf_model, dataset: *const gf_dataset,
                             options: *const gf_train_options,
                             out: *mut *mut gf_trainer) -> gf_status;
    pub fn gf_trainer_free(trainer: *mut gf_trainer);
    pub fn gf_train_step(trainer: *mut gf_trainer, report: *mut gf_train_report) -> gf_status;
    pub fn gf_trainer_get_state(trainer: *mut gf_trainer, out: *mut gf_train_state) -> gf_status;
    pub fn gf_checkpoint_save(trainer: *mut gf_trainer, path: *const c_char) -> gf_status;
    pub fn gf_checkpoint_load(trainer: *mut gf_trainer, path: *const c_char) -> gf_status;

    pub fn gf_eval(model: *mut gf_model, dataset: *const gf_dataset, batch_size: i32,
                   out: *mut gf_eval_report) -> gf_status;
}
