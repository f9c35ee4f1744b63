use std::fmt;
use std::ptr::{null, null_mut, NonNull};
use std::rc::Rc;
use std::sync::Arc;

use grassflow_sys as sys;

use crate::error::{Error, Result};
use crate::native::{c_text, fill, owned_text, sized, RawContext, Shared};

/// How a [`Context`] is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextOptions {
    /// "cpu" (default), "cuda", "cuda:N", or "auto": a GPU if there is one, else the CPU.
    pub device: String,
    /// Of matrix products: "fp32", or "bf16" on a GPU; `None`: the device's default.
    pub precision: Option<String>,
    /// CPU threads; 0 (default): one per core this process may run on.
    pub threads: i32,
    /// On a GPU in bf16: "own" kernels, or "cudnn" to compare; `None`: "own".
    pub attention: Option<String>,
}

impl Default for ContextOptions {
    fn default() -> Self {
        let mut raw = sized!(gf_context_options);
        unsafe { sys::gf_context_options_init_sized(&mut raw, raw.struct_size) };
        ContextOptions {
            device: owned_text(raw.device),
            precision: None,
            threads: raw.threads,
            attention: None,
        }
    }
}

/// Time of one kind of operation.
#[derive(Clone, Debug, PartialEq)]
pub struct ProfileEntry {
    /// Such as "linear_backward".
    pub name: String,
    /// How often it ran.
    pub calls: i64,
    /// In all; on a GPU by its own clock.
    pub seconds: f64,
}

/// A device and its threads, from which all other handles come. A clone is the same context.
#[derive(Clone)]
pub struct Context {
    pub(crate) shared: Rc<Shared>,
}

impl Context {
    /// Opens a device. Fails with `InvalidArgument` (a device or precision that is none), `Device`
    /// (no such GPU or driver) or `Unsupported` (no CUDA library; bf16 on the CPU).
    pub fn new(options: &ContextOptions) -> Result<Context> {
        let device = c_text("device", &options.device)?;
        let precision = options.precision.as_ref().map(|p| c_text("precision", p)).transpose()?;
        let attention = options.attention.as_ref().map(|a| c_text("attention", a)).transpose()?;
        let mut raw = sized!(gf_context_options);
        unsafe { sys::gf_context_options_init_sized(&mut raw, raw.struct_size) };
        raw.device = device.as_ptr();
        raw.precision = precision.as_ref().map_or(null(), |p| p.as_ptr());
        raw.threads = options.threads;
        raw.attention = attention.as_ref().map_or(null(), |a| a.as_ptr());

        let mut context = null_mut();
        let mut text = [0; 1024];
        let status =
            unsafe { sys::gf_context_create(&raw, &mut context, text.as_mut_ptr(), text.len()) };
        match NonNull::new(context) {
            Some(context) if status == sys::GF_OK => {
                Ok(Context { shared: Rc::new(Shared(Arc::new(RawContext(context)))) })
            }
            _ => Err(Error::from_raw(status, owned_text(text.as_ptr()))),
        }
    }

    /// What the context runs on, for people, such as "cpu, 2 threads, fp32".
    pub fn description(&self) -> String {
        owned_text(unsafe { sys::gf_context_description(self.shared.raw()) })
    }

    /// `length` bytes of ASCII of the library's own sample corpus; equal seeds give equal texts.
    pub fn sample_text(&self, seed: u64, length: usize) -> Result<String> {
        let mut text = vec![0u8; length];
        self.shared.check(unsafe {
            sys::gf_sample_text(self.shared.raw(), seed, text.as_mut_ptr().cast(), length)
        })?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// `pairs` sentence pairs of the sample corpus with true labels, as SNLI-like JSON lines.
    pub fn sample_pairs(&self, seed: u64, pairs: i64) -> Result<String> {
        let text = fill(&self.shared, 0u8, 0, |text, capacity, length| unsafe {
            sys::gf_sample_pairs(self.shared.raw(), seed, pairs, text.cast(), capacity, length)
        })?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// What ends evaluations on this context from other threads.
    pub fn canceller(&self) -> Canceller {
        Canceller(self.shared.0.clone())
    }

    /// Begins afresh (`true`) or ends taking the time of every operation.
    pub fn set_profiling(&self, on: bool) -> Result<()> {
        self.shared
            .check(unsafe { sys::gf_context_set_profiling(self.shared.raw(), on.into()) })
            .map(drop)
    }

    /// The times taken since profiling began, the largest first.
    pub fn profile(&self) -> Result<Vec<ProfileEntry>> {
        let entries =
            fill(&self.shared, sized!(gf_profile_entry), 64, |out, capacity, count| unsafe {
                sys::gf_context_profile(self.shared.raw(), out, capacity, count)
            })?;
        let entry = |e: &sys::gf_profile_entry| ProfileEntry {
            name: owned_text(e.name.as_ptr()),
            calls: e.calls,
            seconds: e.seconds,
        };
        Ok(entries.iter().map(entry).collect())
    }
}

/// Ends evaluations on a [`Context`] early, from any thread. It keeps the context's device alive.
#[derive(Clone)]
pub struct Canceller(Arc<RawContext>);

impl Canceller {
    /// The evaluation under way, or the next one, fails with [`Status::Cancelled`](crate::Status)
    /// after the batch under way. Only sets a flag: a signal handler may call it.
    pub fn cancel(&self) {
        unsafe { sys::gf_context_cancel(self.0.raw(), 1) }
    }

    /// Takes back what no evaluation has settled yet.
    pub fn take_back(&self) {
        unsafe { sys::gf_context_cancel(self.0.raw(), 0) }
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Canceller")
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({})", self.description())
    }
}
