use std::ops::Range;
use std::path::Path;

use grassflow_sys as sys;

use crate::context::Context;
use crate::error::Result;
use crate::native::{c_path, sized, Handle};
use crate::tokenizer::Tokenizer;

/// How a text file becomes one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    /// The file as it is.
    Plain,
    /// Rows of white space dropped, the others joined by a line end, `<unk>` the unknown token.
    WikiText,
}

/// What a dataset holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatasetInfo {
    /// Ids of the text before it was cut, the dropped rest included.
    pub ids: i64,
    /// Chunks.
    pub chunks: i64,
    /// Ids of one chunk.
    pub length: i32,
}

/// A sequence of ids cut into chunks of equal length.
pub struct Dataset {
    pub(crate) handle: Handle<sys::gf_dataset>,
}

impl Dataset {
    /// Cuts ids, which are copied, into chunks of `length`, at least 2; a rest that fills no chunk
    /// is dropped. Fails with `InvalidArgument`.
    pub fn from_ids(context: &Context, ids: &[i32], length: i32) -> Result<Dataset> {
        let shared = &context.shared;
        let handle = Handle::create(shared, sys::gf_dataset_free, |out| unsafe {
            sys::gf_dataset_from_ids(shared.raw(), ids.as_ptr(), ids.len(), length, out)
        })?;
        Ok(Dataset { handle })
    }

    /// Encodes a text file as one text and cuts it into chunks of `length` ids. Fails with
    /// `NotFound`, `Io` or `InvalidArgument` (a text shorter than one chunk).
    pub fn from_text_file(
        context: &Context,
        tokenizer: &Tokenizer,
        path: impl AsRef<Path>,
        format: TextFormat,
        length: i32,
    ) -> Result<Dataset> {
        let path = c_path(path)?;
        let format = match format {
            TextFormat::Plain => sys::GF_TEXT_PLAIN,
            TextFormat::WikiText => sys::GF_TEXT_WIKITEXT,
        };
        let shared = &context.shared;
        let handle = Handle::create(shared, sys::gf_dataset_free, |out| unsafe {
            sys::gf_dataset_from_text_file(
                shared.raw(),
                tokenizer.handle.raw(),
                path.as_ptr(),
                format,
                length,
                out,
            )
        })?;
        Ok(Dataset { handle })
    }

    /// A run of chunks as a dataset of its own, for example to hold out a part; nothing is copied.
    /// Fails with `InvalidArgument` where it is empty or outside the whole.
    pub fn slice(&self, chunks: Range<i64>) -> Result<Dataset> {
        let count = chunks.end.saturating_sub(chunks.start);
        let handle = Handle::create(&self.handle.shared, sys::gf_dataset_free, |out| unsafe {
            sys::gf_dataset_slice(self.handle.raw(), chunks.start, count, out)
        })?;
        Ok(Dataset { handle })
    }

    /// Sizes.
    pub fn info(&self) -> Result<DatasetInfo> {
        let mut info = sized!(gf_dataset_info);
        self.handle.check(unsafe { sys::gf_dataset_get_info(self.handle.raw(), &mut info) })?;
        Ok(DatasetInfo { ids: info.ids, chunks: info.chunks, length: info.length })
    }
}
