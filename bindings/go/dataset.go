package grassflow

// #include <grassflow.h>
import "C"

// TextFormat is how a text file becomes one text.
type TextFormat int

const (
	// PlainText: the file as it is.
	PlainText TextFormat = C.GF_TEXT_PLAIN
	// WikiText: rows of white space dropped, the others joined by a line end, <unk> the unknown
	// token.
	WikiText TextFormat = C.GF_TEXT_WIKITEXT
)

// DatasetInfo is what a dataset holds.
type DatasetInfo struct {
	IDs    int // ids of the text before it was cut, the dropped rest included
	Chunks int
	Length int // ids of one chunk
}

// Dataset is a sequence of ids cut into chunks of equal length.
type Dataset struct {
	handle handle[*C.gf_dataset]
}

func freeDataset(raw *C.gf_dataset) {
	C.gf_dataset_free(raw)
}

// DatasetFromIDs cuts ids, which are copied, into chunks of length, at least 2; a rest that fills no
// chunk is dropped. It fails with [ErrInvalidArgument].
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

// Close frees the dataset.
func (d *Dataset) Close() error {
	return d.handle.close()
}

// Slice is the chunks from first to before end as a dataset of its own, for example to hold out a
// part; nothing is copied. It fails with [ErrInvalidArgument] where that is empty or outside.
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
	return DatasetInfo{int(info.ids), int(info.chunks), int(info.length)}, err
}
