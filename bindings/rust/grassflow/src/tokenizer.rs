use std::path::Path;
use std::ptr::null;

use grassflow_sys as sys;

use crate::context::Context;
use crate::error::Result;
use crate::native::{c_path, c_text, fill, sized, static_text, Handle};

/// What becomes of the tokens that are no text, such as \[CLS\] and \[SEP\].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// Encoding puts them around the text, decoding shows them.
    Keep,
    /// Encoding does without them, decoding leaves them out.
    Omit,
}

impl Special {
    fn flags(self) -> u32 {
        match self {
            Special::Keep => 0,
            Special::Omit => sys::GF_NO_SPECIAL,
        }
    }
}

/// Ids of the tokens that are no text; `None` where the vocabulary lacks one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialIds {
    /// \[PAD\]
    pub pad: Option<i32>,
    /// \[UNK\]
    pub unknown: Option<i32>,
    /// \[CLS\]
    pub begin: Option<i32>,
    /// \[SEP\]
    pub separator: Option<i32>,
    /// <|endoftext|>
    pub end: Option<i32>,
}

/// Text to ids and back.
pub struct Tokenizer {
    pub(crate) handle: Handle<sys::gf_tokenizer>,
}

impl Tokenizer {
    /// Loads "byte" (256 ids, no files), "gpt2" (byte-level BPE) or "bert" (uncased WordPiece); the
    /// directory holds its files. Fails with `InvalidArgument` (another name), `NotFound` or
    /// `Format`, which names file and line.
    pub fn load(context: &Context, name: &str, directory: Option<&Path>) -> Result<Tokenizer> {
        let name = c_text("name", name)?;
        let directory = directory.map(c_path).transpose()?;
        let directory = directory.as_ref().map_or(null(), |d| d.as_ptr());
        let shared = &context.shared;
        let handle = Handle::create(shared, sys::gf_tokenizer_free, |out| unsafe {
            sys::gf_tokenizer_load(shared.raw(), name.as_ptr(), directory, out)
        })?;
        Ok(Tokenizer { handle })
    }

    /// "byte", "gpt2" or "bert".
    pub fn name(&self) -> &'static str {
        static_text(unsafe { sys::gf_tokenizer_name(self.handle.raw()) })
    }

    /// V: ids run from 0 to V - 1.
    pub fn vocab_size(&self) -> i32 {
        unsafe { sys::gf_tokenizer_vocab_size(self.handle.raw()) }
    }

    /// Ids of the tokens that are no text.
    pub fn special_ids(&self) -> Result<SpecialIds> {
        let mut ids = sized!(gf_special_ids);
        self.handle.check(unsafe { sys::gf_tokenizer_special_ids(self.handle.raw(), &mut ids) })?;
        let known = |id: i32| Some(id).filter(|id| *id >= 0);
        Ok(SpecialIds {
            pad: known(ids.pad),
            unknown: known(ids.unknown),
            begin: known(ids.begin),
            separator: known(ids.separator),
            end: known(ids.end),
        })
    }

    /// The ids of a text, a `&str` or any bytes: ill-formed UTF-8 is no error.
    pub fn encode(&self, text: impl AsRef<[u8]>, special: Special) -> Result<Vec<i32>> {
        let text = text.as_ref();
        fill(&self.handle.shared, 0, text.len() + 2, |ids, capacity, count| unsafe {
            sys::gf_tokenizer_encode(
                self.handle.raw(),
                text.as_ptr().cast(),
                text.len(),
                special.flags(),
                ids,
                capacity,
                count,
            )
        })
    }

    /// The ids of `[CLS] a [SEP] b [SEP]`, cut longest-first to `max_ids`; 0: no limit.
    pub fn encode_pair(
        &self,
        a: &str,
        b: &str,
        special: Special,
        max_ids: usize,
    ) -> Result<Vec<i32>> {
        let (a, b) = (c_text("a", a)?, c_text("b", b)?);
        let guess = a.as_bytes().len() + b.as_bytes().len() + 3;
        fill(&self.handle.shared, 0, guess, |ids, capacity, count| unsafe {
            sys::gf_tokenizer_encode_pair(
                self.handle.raw(),
                a.as_ptr(),
                b.as_ptr(),
                special.flags(),
                max_ids,
                ids,
                capacity,
                count,
            )
        })
    }

    /// The bytes that ids stand for: a run of ids may end inside a character. Fails with
    /// `InvalidArgument`, which names the first id outside the vocabulary.
    pub fn decode(&self, ids: &[i32], special: Special) -> Result<Vec<u8>> {
        fill(&self.handle.shared, 0u8, 0, |text, capacity, length| unsafe {
            sys::gf_tokenizer_decode(
                self.handle.raw(),
                ids.as_ptr(),
                ids.len(),
                special.flags(),
                text.cast(),
                capacity,
                length,
            )
        })
    }
}
