//! What every module needs at the border to C.

use std::ffi::{CStr, CString};
use std::os::raw::c_char;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

use grassflow_sys as sys;

use crate::error::{Error, Result};

/// The C context, freed when dropped.
pub(crate) struct RawContext(pub NonNull<sys::gf_context>);

impl RawContext {
    pub fn raw(&self) -> *mut sys::gf_context {
        self.0.as_ptr()
    }
}

// All that other threads have of it is a `Canceller`, whose one call any thread may make at any
// time; and the last that has it may be in any thread, since nobody then is left to use it.
unsafe impl Send for RawContext {}
unsafe impl Sync for RawContext {}

impl Drop for RawContext {
    fn drop(&mut self) {
        unsafe { sys::gf_context_free(self.0.as_ptr()) }
    }
}

/// The C context, kept alive by every handle made from it: error texts stand on it.
pub(crate) struct Shared(pub Arc<RawContext>);

impl Shared {
    pub fn raw(&self) -> *mut sys::gf_context {
        self.0.raw()
    }

    /// The status of a call that did not fail, GF_OK or one of the positive ones.
    pub fn check(&self, status: sys::gf_status) -> Result<sys::gf_status> {
        if status >= sys::GF_OK {
            return Ok(status);
        }
        Err(Error::from_raw(status, owned_text(unsafe { sys::gf_context_error(self.raw()) })))
    }
}

/// A C handle, freed when dropped. Neither Send nor Sync, since the `Rc` is not.
pub(crate) struct Handle<T> {
    raw: NonNull<T>,
    free: unsafe extern "C" fn(*mut T),
    pub shared: Rc<Shared>,
}

impl<T> Handle<T> {
    /// Runs a call that creates a handle in its out-parameter.
    pub fn create(
        shared: &Rc<Shared>,
        free: unsafe extern "C" fn(*mut T),
        call: impl FnOnce(*mut *mut T) -> sys::gf_status,
    ) -> Result<Handle<T>> {
        let mut out = std::ptr::null_mut();
        shared.check(call(&mut out))?;
        let raw = NonNull::new(out).expect("a call that succeeds sets its handle");
        Ok(Handle { raw, free, shared: shared.clone() })
    }

    pub fn raw(&self) -> *mut T {
        self.raw.as_ptr()
    }

    pub fn check(&self, status: sys::gf_status) -> Result<sys::gf_status> {
        self.shared.check(status)
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        unsafe { (self.free)(self.raw()) }
    }
}

/// A zeroed struct of the C API with its `struct_size` set.
macro_rules! sized {
    ($name:ident) => {{
        // Numbers, nullable pointers and arrays of them: zero is a value of each.
        let mut value: grassflow_sys::$name = unsafe { std::mem::zeroed() };
        value.struct_size = std::mem::size_of::<grassflow_sys::$name>();
        value
    }};
}
pub(crate) use sized;

/// Runs a call that fills a buffer and says how many items there are, again where `guess` was low.
pub(crate) fn fill<T: Copy>(
    shared: &Shared,
    empty: T,
    guess: usize,
    call: impl Fn(*mut T, usize, *mut usize) -> sys::gf_status,
) -> Result<Vec<T>> {
    let mut items = vec![empty; guess];
    loop {
        let mut count = 0;
        shared.check(call(items.as_mut_ptr(), items.len(), &mut count))?;
        let complete = count <= items.len();
        items.resize(count, empty);
        if complete {
            return Ok(items);
        }
    }
}

/// Text for C, which ends at the first zero byte: one inside is refused.
pub(crate) fn c_text(what: &str, text: impl AsRef<[u8]>) -> Result<CString> {
    CString::new(text.as_ref()).map_err(|error| {
        Error::invalid_argument(format!(
            "{what} holds a zero byte at position {}",
            error.nul_position()
        ))
    })
}

pub(crate) fn c_path(path: impl AsRef<Path>) -> Result<CString> {
    c_text("path", path.as_ref().as_os_str().as_bytes())
}

pub(crate) fn owned_text(text: *const c_char) -> String {
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// For texts of which the header says that they are static.
pub(crate) fn static_text(text: *const c_char) -> &'static str {
    unsafe { CStr::from_ptr(text) }.to_str().unwrap_or_default()
}
