package grassflow

// #include <grassflow.h>
import "C"

import "unsafe"

// Special is what becomes of the tokens that are no text, such as [CLS] and [SEP].
type Special uint32

const (
	// KeepSpecial: encoding puts them around the text, decoding shows them.
	KeepSpecial Special = 0
	// OmitSpecial: encoding does without them, decoding leaves them out.
	OmitSpecial Special = C.GF_NO_SPECIAL
)

// SpecialIDs are the ids of the tokens that are no text; -1 where the vocabulary has none.
type SpecialIDs struct {
	Pad       int32 // [PAD]
	Unknown   int32 // [UNK]
	Begin     int32 // [CLS]
	Separator int32 // [SEP]
	End       int32 // <|endoftext|>
}

// Tokenizer turns text into ids and back.
type Tokenizer struct {
	handle handle[*C.gf_tokenizer]
}

// LoadTokenizer loads "byte" (256 ids, no files), "gpt2" (byte-level BPE) or "bert" (uncased
// WordPiece); the directory holds its files. It fails with [ErrInvalidArgument] (another name),
// [ErrNotFound] or [ErrFormat], which names file and line.
func (c *Context) LoadTokenizer(name, directory string) (*Tokenizer, error) {
	cName, err := newText("name", name)
	if err != nil {
		return nil, err
	}
	defer cName.free()
	cDirectory, err := newOptionalText("directory", directory)
	if err != nil {
		return nil, err
	}
	defer cDirectory.free()
	free := func(raw *C.gf_tokenizer) { C.gf_tokenizer_free(raw) }
	h, err := create(&c.handle, "tokenizer", free,
		func(context *C.gf_context, out **C.gf_tokenizer) C.gf_status {
			return C.gf_tokenizer_load(context, cName.raw, cDirectory.raw, out)
		})
	if err != nil {
		return nil, err
	}
	return &Tokenizer{h}, nil
}

// Close frees the tokenizer.
func (t *Tokenizer) Close() error {
	return t.handle.close()
}

// Name is "byte", "gpt2" or "bert"; "" once it is closed.
func (t *Tokenizer) Name() string {
	var name string
	_ = t.handle.call(func(raw *C.gf_tokenizer) C.gf_status {
		name = C.GoString(C.gf_tokenizer_name(raw))
		return C.GF_OK
	})
	return name
}

// VocabSize is V: ids run from 0 to V - 1; 0 once it is closed.
func (t *Tokenizer) VocabSize() int {
	var size int
	_ = t.handle.call(func(raw *C.gf_tokenizer) C.gf_status {
		size = int(C.gf_tokenizer_vocab_size(raw))
		return C.GF_OK
	})
	return size
}

// SpecialIDs are the ids of the tokens that are no text.
func (t *Tokenizer) SpecialIDs() (SpecialIDs, error) {
	ids := C.gf_special_ids{struct_size: C.sizeof_gf_special_ids}
	err := t.handle.call(func(raw *C.gf_tokenizer) C.gf_status {
		return C.gf_tokenizer_special_ids(raw, &ids)
	})
	return SpecialIDs{int32(ids.pad), int32(ids.unknown), int32(ids.begin), int32(ids.separator),
		int32(ids.end)}, err
}

// Encode is the ids of a text. Ill-formed UTF-8 is no error.
func (t *Tokenizer) Encode(text string, special Special) ([]int32, error) {
	bytes := []byte(text)
	return fill(int32(0), len(bytes)+2, func(ids *int32, capacity C.size_t, count *C.size_t) error {
		return t.handle.call(func(raw *C.gf_tokenizer) C.gf_status {
			return C.gf_tokenizer_encode(raw, (*C.char)(unsafe.Pointer(first(bytes))),
				C.size_t(len(bytes)), C.uint32_t(special), (*C.int32_t)(ids), capacity, count)
		})
	})
}

// EncodePair is the ids of [CLS] a [SEP] b [SEP], cut longest-first to maxIDs; 0: no limit.
func (t *Tokenizer) EncodePair(a, b string, special Special, maxIDs int) ([]int32, error) {
	if maxIDs < 0 {
		return nil, invalidArgument("maxIDs is %d, expected 0 (no limit) or more", maxIDs)
	}
	cA, err := newText("a", a)
	if err != nil {
		return nil, err
	}
	defer cA.free()
	cB, err := newText("b", b)
	if err != nil {
		return nil, err
	}
	defer cB.free()
	guess := len(a) + len(b) + 3
	return fill(int32(0), guess, func(ids *int32, capacity C.size_t, count *C.size_t) error {
		return t.handle.call(func(raw *C.gf_tokenizer) C.gf_status {
			return C.gf_tokenizer_encode_pair(raw, cA.raw, cB.raw, C.uint32_t(special),
				C.size_t(maxIDs), (*C.int32_t)(ids), capacity, count)
		})
	})
}

// Decode is the text that ids stand for, which may end inside a character. It fails with
// [ErrInvalidArgument], which names the first id outside the vocabulary.
func (t *Tokenizer) Decode(ids []int32, special Special) (string, error) {
	text, err := fill(byte(0), 0, func(text *byte, capacity C.size_t, length *C.size_t) error {
		return t.handle.call(func(raw *C.gf_tokenizer) C.gf_status {
			return C.gf_tokenizer_decode(raw, (*C.int32_t)(first(ids)), C.size_t(len(ids)),
				C.uint32_t(special), (*C.char)(unsafe.Pointer(text)), capacity, length)
		})
	})
	return string(text), err
}
