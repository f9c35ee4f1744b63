use std::fmt;

use grassflow_sys as sys;

use crate::native::static_text;

/// What kind of failure an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// An evaluation was ended by a [`Canceller`](crate::Canceller).
    Cancelled,
    /// An argument or option is outside what is allowed.
    InvalidArgument,
    /// No memory is left, on the host or the GPU.
    OutOfMemory,
    /// No such file, or no such name.
    NotFound,
    /// Reading or writing failed.
    Io,
    /// A file is damaged or of another format.
    Format,
    /// A file and a configuration do not agree.
    Mismatch,
    /// A loss or gradient is not finite; the weights are those before the step.
    NotFinite,
    /// The device is missing or failed.
    Device,
    /// Not supported by this build of the library.
    Unsupported,
    /// A mistake inside the library: please report it.
    Internal,
}

impl Status {
    fn from_raw(status: sys::gf_status) -> Status {
        match status {
            sys::GF_CANCELLED => Status::Cancelled,
            sys::GF_ERROR_INVALID_ARGUMENT => Status::InvalidArgument,
            sys::GF_ERROR_OUT_OF_MEMORY => Status::OutOfMemory,
            sys::GF_ERROR_NOT_FOUND => Status::NotFound,
            sys::GF_ERROR_IO => Status::Io,
            sys::GF_ERROR_FORMAT => Status::Format,
            sys::GF_ERROR_MISMATCH => Status::Mismatch,
            sys::GF_ERROR_NOT_FINITE => Status::NotFinite,
            sys::GF_ERROR_DEVICE => Status::Device,
            sys::GF_ERROR_UNSUPPORTED => Status::Unsupported,
            _ => Status::Internal,
        }
    }
}

/// A failure: its kind, and a text that names the file, line, option or size at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    status: Status,
    text: String,
}

/// What every call that can fail returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn from_raw(status: sys::gf_status, text: String) -> Error {
        // Few failures have no text, such as running out of memory while it is written.
        let text = match text.is_empty() {
            true => static_text(unsafe { sys::gf_status_text(status) }).to_string(),
            false => text,
        };
        Error { status: Status::from_raw(status), text }
    }

    pub(crate) fn invalid_argument(text: String) -> Error {
        Error { status: Status::InvalidArgument, text }
    }

    /// The kind of failure.
    pub fn status(&self) -> Status {
        self.status
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}
