use std::ops::Range;
use std::path::Path;

use grassflow_sys as sys;

use crate::context::Context;
use crate::error::{Error, Result};
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

/// Names of SNLI's classes, by number.
pub const SNLI_CLASSES: [&str; sys::GF_SNLI_CLASSES as usize] =
    ["entailment", "neutral", "contradiction"];

/// What a dataset holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetInfo {
    /// Ids of the text before it was cut, the dropped rest included; of pairs all that were kept.
    pub ids: i64,
    /// Chunks or pairs.
    pub chunks: i64,
    /// Ids of one chunk, or of the longest pair.
    pub length: i32,
    /// Groups of one padded length; 1 for chunks.
    pub buckets: i32,
    /// Ids of all chunks or pairs, padding left out.
    pub tokens: i64,
    /// The same with padding: what a pass over the data computes on.
    pub padded_tokens: i64,
    /// Pairs of each class; empty for chunks.
    pub label_counts: Vec<i64>,
}

/// What a file of pairs held.
#[derive(Clone, Debug, PartialEq)]
pub struct PairReport {
    /// Lines that are not blank: pairs, kept or not.
    pub lines: i64,
    /// Pairs kept.
    pub pairs: i64,
    /// Pairs left out because their label is "-".
    pub unlabelled: i64,
    /// Pairs kept of which a sentence is empty or only white space.
    pub empty: i64,
    /// Pairs kept that were longer than allowed and cut.
    pub cut: i64,
    /// Ids of the longest pair before any was cut.
    pub longest: i32,
    /// Ids of a pair kept, on average.
    pub mean_length: f64,
    /// Pairs kept of each of [`SNLI_CLASSES`].
    pub label_counts: Vec<i64>,
}

/// What to train on or to evaluate: a sequence of ids cut into chunks of equal length, or pairs of
/// any length with a label each.
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

    /// Pairs, or any labelled sequences: (ids, class) of each, which are copied. Fails with
    /// `InvalidArgument`, which names the sequence and what is wrong with it.
    pub fn from_pairs<Ids: AsRef<[i32]>>(
        context: &Context,
        pairs: impl IntoIterator<Item = (Ids, i32)>,
    ) -> Result<Dataset> {
        let (mut ids, mut lengths, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        for (sequence, label) in pairs {
            let sequence = sequence.as_ref();
            let length = i32::try_from(sequence.len()).map_err(|_| {
                let text = format!("sequence {} has {} ids", labels.len(), sequence.len());
                Error::invalid_argument(text)
            })?;
            ids.extend_from_slice(sequence);
            lengths.push(length);
            labels.push(label);
        }
        let shared = &context.shared;
        let handle = Handle::create(shared, sys::gf_dataset_free, |out| unsafe {
            sys::gf_dataset_from_pairs(
                shared.raw(),
                ids.as_ptr(),
                lengths.as_ptr(),
                labels.as_ptr(),
                labels.len(),
                out,
            )
        })?;
        Ok(Dataset { handle })
    }

    /// Pairs of a file of SNLI's JSON lines, those longer than `max_length` ids (8 at least) cut,
    /// and what it held. Fails with `NotFound`, `Io`, `Format`, which names file and line, or
    /// `InvalidArgument`.
    pub fn from_snli_file(
        context: &Context,
        tokenizer: &Tokenizer,
        path: impl AsRef<Path>,
        max_length: i32,
    ) -> Result<(Dataset, PairReport)> {
        let path = c_path(path)?;
        Dataset::from_snli(context, |report, out| unsafe {
            sys::gf_dataset_from_snli_file(
                context.shared.raw(),
                tokenizer.handle.raw(),
                path.as_ptr(),
                max_length,
                report,
                out,
            )
        })
    }

    /// The same from text in memory, such as [`Context::sample_pairs`] makes.
    pub fn from_snli_text(
        context: &Context,
        tokenizer: &Tokenizer,
        text: impl AsRef<[u8]>,
        max_length: i32,
    ) -> Result<(Dataset, PairReport)> {
        let text = text.as_ref();
        Dataset::from_snli(context, |report, out| unsafe {
            sys::gf_dataset_from_snli_text(
                context.shared.raw(),
                tokenizer.handle.raw(),
                text.as_ptr().cast(),
                text.len(),
                max_length,
                report,
                out,
            )
        })
    }

    fn from_snli(
        context: &Context,
        call: impl FnOnce(*mut sys::gf_pair_report, *mut *mut sys::gf_dataset) -> sys::gf_status,
    ) -> Result<(Dataset, PairReport)> {
        let mut raw = sized!(gf_pair_report);
        let handle =
            Handle::create(&context.shared, sys::gf_dataset_free, |out| call(&mut raw, out))?;
        let report = PairReport {
            lines: raw.lines,
            pairs: raw.pairs,
            unlabelled: raw.unlabelled,
            empty: raw.empty,
            cut: raw.cut,
            longest: raw.longest,
            mean_length: raw.mean_length,
            label_counts: raw.label_counts[..SNLI_CLASSES.len()].to_vec(),
        };
        Ok((Dataset { handle }, report))
    }

    /// A run of chunks or pairs, in their first order, as a dataset of its own, for example to hold
    /// out a part. Fails with `InvalidArgument` where it is empty or outside the whole.
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
        Ok(DatasetInfo {
            ids: info.ids,
            chunks: info.chunks,
            length: info.length,
            buckets: info.buckets,
            tokens: info.tokens,
            padded_tokens: info.padded_tokens,
            label_counts: info.label_counts[..info.num_labels as usize].to_vec(),
        })
    }
}
