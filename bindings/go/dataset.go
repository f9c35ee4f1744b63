package grassflow

// #include <grassflow.h>
import "C"

import (
	"math"
	"unsafe"
)

// TextFormat is how a text file becomes one text.
type TextFormat int

const (
	// PlainText: the file as it is.
	PlainText TextFormat = C.GF_TEXT_PLAIN
	// WikiText: rows of white space dropped, the others joined by a line end, <unk> the unknown
	// token.
	WikiText TextFormat = C.GF_TEXT_WIKITEXT
)

// SNLIClasses are the names of SNLI's classes, by number.
var SNLIClasses = [C.GF_SNLI_CLASSES]string{
	C.GF_SNLI_ENTAILMENT:    "entailment",
	C.GF_SNLI_NEUTRAL:       "neutral",
	C.GF_SNLI_CONTRADICTION: "contradiction",
}

// DatasetInfo is what a dataset holds.
type DatasetInfo struct {
	IDs          int   // ids of the text before it was cut; of pairs all that were kept
	Chunks       int   // chunks or pairs
	Length       int   // ids of one chunk, or of the longest pair
	Buckets      int   // groups of one padded length; 1 for chunks
	Tokens       int   // ids of all chunks or pairs, padding left out
	PaddedTokens int   // the same with padding: what a pass over the data computes on
	LabelCounts  []int // pairs of each class; empty for chunks
}

// PairReport is what a file of pairs held.
type PairReport struct {
	Lines       int     // lines that are not blank: pairs, kept or not
	Pairs       int     // pairs kept
	Unlabelled  int     // pairs left out because their label is "-"
	Empty       int     // pairs kept of which a sentence is empty or only white space
	Cut         int     // pairs kept that were longer than allowed and cut
	Longest     int     // ids of the longest pair before any was cut
	MeanLength  float64 // ids of a pair kept, on average
	LabelCounts []int   // pairs kept of each of SNLIClasses
}

// LabelledIDs is one pair, or any sequence, and its class.
type LabelledIDs struct {
	IDs   []int32
	Label int
}

// Dataset is what to train on or to evaluate: a sequence of ids cut into chunks of equal length, or
// pairs of any length with a label each.
type Dataset struct {
	handle handle[*C.gf_dataset]
}

func freeDataset(raw *C.gf_dataset) {
	C.gf_dataset_free(raw)
}

// DatasetFromIDs cuts ids, which are copied, into chunks of length, at least 2; a rest that fills
// no chunk is dropped. It fails with [ErrInvalidArgument].
func (c *Context) DatasetFromIDs(ids []int32, length int) (*Dataset, error) {
	h, err := create(&c.handle, "dataset", freeDataset,
		func(context *C.gf_context, out **C.gf_dataset) C.gf_status {
			return C.gf_dataset_from_ids(context, (*C.int32_t)(first(ids)), C.size_t(len(ids)),
				int32Of(length), out)
		})
	if err != nil {
		return nil, err
	}
	return &Dataset{h}, nil
}

// DatasetFromTextFile encodes a text file as one text and cuts it into chunks of length ids. It
// fails with [ErrNotFound], [ErrIO] or [ErrInvalidArgument] (a text shorter than one chunk).
func (c *Context) DatasetFromTextFile(tokenizer *Tokenizer, path string, format TextFormat,
	length int) (*Dataset, error) {
	cPath, err := newText("path", path)
	if err != nil {
		return nil, err
	}
	defer cPath.free()
	h, err := createFromBoth(&c.handle, &tokenizer.handle, "dataset", freeDataset,
		func(context *C.gf_context, tokenizer *C.gf_tokenizer, out **C.gf_dataset) C.gf_status {
			return C.gf_dataset_from_text_file(context, tokenizer, cPath.raw,
				C.gf_text_format(format), int32Of(length), out)
		})
	if err != nil {
		return nil, err
	}
	return &Dataset{h}, nil
}

// DatasetFromPairs is a dataset of labelled sequences, which are copied. It fails with
// [ErrInvalidArgument], which names the sequence and what is wrong with it.
func (c *Context) DatasetFromPairs(pairs []LabelledIDs) (*Dataset, error) {
	var ids []int32
	lengths, labels := make([]C.int32_t, len(pairs)), make([]C.int32_t, len(pairs))
	for i, pair := range pairs {
		if len(pair.IDs) > math.MaxInt32 {
			return nil, invalidArgument("sequence %d has %d ids", i, len(pair.IDs))
		}
		ids = append(ids, pair.IDs...)
		lengths[i], labels[i] = C.int32_t(len(pair.IDs)), int32Of(pair.Label)
	}
	h, err := create(&c.handle, "dataset", freeDataset,
		func(context *C.gf_context, out **C.gf_dataset) C.gf_status {
			return C.gf_dataset_from_pairs(context, (*C.int32_t)(first(ids)), first(lengths),
				first(labels), C.size_t(len(pairs)), out)
		})
	if err != nil {
		return nil, err
	}
	return &Dataset{h}, nil
}

// DatasetFromSNLIFile is the pairs of a file of SNLI's JSON lines, those longer than maxLength ids
// (8 at least) cut, and what it held. It fails with [ErrNotFound], [ErrIO], [ErrFormat], which
// names file and line, or [ErrInvalidArgument].
func (c *Context) DatasetFromSNLIFile(tokenizer *Tokenizer, path string, maxLength int) (*Dataset,
	PairReport, error) {
	cPath, err := newText("path", path)
	if err != nil {
		return nil, PairReport{}, err
	}
	defer cPath.free()
	return c.datasetFromSNLI(tokenizer, func(context *C.gf_context, tokenizer *C.gf_tokenizer,
		report *C.gf_pair_report, out **C.gf_dataset) C.gf_status {
		return C.gf_dataset_from_snli_file(context, tokenizer, cPath.raw, int32Of(maxLength), report,
			out)
	})
}

// DatasetFromSNLIText does so from text in memory, such as [Context.SamplePairs] makes.
func (c *Context) DatasetFromSNLIText(tokenizer *Tokenizer, text string, maxLength int) (*Dataset,
	PairReport, error) {
	bytes := []byte(text)
	return c.datasetFromSNLI(tokenizer, func(context *C.gf_context, tokenizer *C.gf_tokenizer,
		report *C.gf_pair_report, out **C.gf_dataset) C.gf_status {
		return C.gf_dataset_from_snli_text(context, tokenizer, (*C.char)(unsafe.Pointer(first(bytes))),
			C.size_t(len(bytes)), int32Of(maxLength), report, out)
	})
}

func (c *Context) datasetFromSNLI(tokenizer *Tokenizer, run func(*C.gf_context, *C.gf_tokenizer,
	*C.gf_pair_report, **C.gf_dataset) C.gf_status) (*Dataset, PairReport, error) {
	raw := C.gf_pair_report{struct_size: C.sizeof_gf_pair_report}
	h, err := createFromBoth(&c.handle, &tokenizer.handle, "dataset", freeDataset,
		func(context *C.gf_context, tokenizer *C.gf_tokenizer, out **C.gf_dataset) C.gf_status {
			return run(context, tokenizer, &raw, out)
		})
	if err != nil {
		return nil, PairReport{}, err
	}
	return &Dataset{h}, PairReport{int(raw.lines), int(raw.pairs), int(raw.unlabelled),
		int(raw.empty), int(raw.cut), int(raw.longest), float64(raw.mean_length),
		counts(raw.label_counts[:len(SNLIClasses)])}, nil
}

// counts is numbers of C as Go's.
func counts(raw []C.int64_t) []int {
	counts := make([]int, len(raw))
	for i, count := range raw {
		counts[i] = int(count)
	}
	return counts
}

// Close frees the dataset.
func (d *Dataset) Close() error {
	return d.handle.close()
}

// Slice is the chunks or pairs from first to before end, in their first order, as a dataset of its
// own, for example to hold out a part. It fails with [ErrInvalidArgument] where that is empty or
// outside the whole.
func (d *Dataset) Slice(first, end int) (*Dataset, error) {
	h, err := create(&d.handle, "dataset", freeDataset,
		func(whole *C.gf_dataset, out **C.gf_dataset) C.gf_status {
			return C.gf_dataset_slice(whole, C.int64_t(first), C.int64_t(end-first), out)
		})
	if err != nil {
		return nil, err
	}
	return &Dataset{h}, nil
}

// Info is the dataset's sizes.
func (d *Dataset) Info() (DatasetInfo, error) {
	info := C.gf_dataset_info{struct_size: C.sizeof_gf_dataset_info}
	err := d.handle.call(func(raw *C.gf_dataset) C.gf_status {
		return C.gf_dataset_get_info(raw, &info)
	})
	return DatasetInfo{int(info.ids), int(info.chunks), int(info.length), int(info.buckets),
		int(info.tokens), int(info.padded_tokens), counts(info.label_counts[:info.num_labels])}, err
}
