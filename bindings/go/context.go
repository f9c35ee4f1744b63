package grassflow

// #include <grassflow.h>
import "C"

import "unsafe"

// ContextOptions is how a context is set up; the zero value holds the defaults.
type ContextOptions struct {
	Device    string // "cpu" (default), "cuda", "cuda:N", or "auto": a GPU if there is one
	Precision string // of matrix products: "fp32", "bf16" (GPU only); "": the device's default
	Threads   int    // CPU threads; 0: one per core this process may run on
	Attention string // on a GPU in bf16: "own" kernels (default), or "cudnn" to compare
}

// Context owns a device and its threads.
type Context struct {
	handle handle[*C.gf_context]
}

// NewContext opens a device. It fails with [ErrInvalidArgument] (a device or precision that is
// none), [ErrDevice] (no such GPU or driver) or [ErrUnsupported] (no CUDA library; bf16 on the
// CPU).
func NewContext(options ContextOptions) (*Context, error) {
	device, err := newOptionalText("device", options.Device)
	if err != nil {
		return nil, err
	}
	defer device.free()
	precision, err := newOptionalText("precision", options.Precision)
	if err != nil {
		return nil, err
	}
	defer precision.free()
	attention, err := newOptionalText("attention", options.Attention)
	if err != nil {
		return nil, err
	}
	defer attention.free()

	var raw C.gf_context_options
	C.gf_context_options_init(&raw)
	raw.threads = int32Of(options.Threads)
	raw.precision = precision.raw
	raw.attention = attention.raw
	if device.raw != nil {
		raw.device = device.raw
	}
	var context *C.gf_context
	var failure [1024]C.char
	status := C.gf_context_create(&raw, &context, &failure[0], C.size_t(len(failure)))
	if status != C.GF_OK {
		return nil, newError(status, C.GoString(&failure[0]))
	}
	shared := newShared(context)
	shared.handles = 1
	// The C context itself goes with the last of its handles.
	return &Context{handle[*C.gf_context]{shared, "context", context, func(*C.gf_context) {}}}, nil
}

// Close ends the context. Handles made from it stay valid and keep its device.
func (c *Context) Close() error {
	return c.handle.close()
}

// Description is what the context runs on, for people, such as "cpu, 2 threads, fp32"; "" once it
// is closed.
func (c *Context) Description() string {
	var description string
	_ = c.handle.call(func(raw *C.gf_context) C.gf_status {
		description = C.GoString(C.gf_context_description(raw))
		return C.GF_OK
	})
	return description
}

// SampleText is length bytes of ASCII of the library's own sample corpus; equal seeds give equal
// texts.
func (c *Context) SampleText(seed uint64, length int) (string, error) {
	if length < 0 {
		return "", invalidArgument("length is %d, expected 0 or more", length)
	}
	text := make([]byte, length)
	err := c.handle.call(func(raw *C.gf_context) C.gf_status {
		out := (*C.char)(unsafe.Pointer(first(text)))
		return C.gf_sample_text(raw, C.uint64_t(seed), out, C.size_t(length))
	})
	return string(text), err
}

// SamplePairs is sentence pairs of the sample corpus with true labels, as SNLI-like JSON lines.
func (c *Context) SamplePairs(seed uint64, pairs int) (string, error) {
	call := func(text *byte, capacity C.size_t, length *C.size_t) error {
		return c.handle.call(func(raw *C.gf_context) C.gf_status {
			out := (*C.char)(unsafe.Pointer(text))
			return C.gf_sample_pairs(raw, C.uint64_t(seed), C.int64_t(pairs), out, capacity, length)
		})
	}
	text, err := fill(byte(0), 0, call)
	return string(text), err
}

// ProfileEntry is the time of one kind of operation.
type ProfileEntry struct {
	Name    string // such as "linear_backward"
	Calls   int
	Seconds float64 // in all; on a GPU by its own clock
}

// SetProfiling begins afresh, or ends, taking the time of every operation.
func (c *Context) SetProfiling(on bool) error {
	var flag C.int
	if on {
		flag = 1
	}
	return c.handle.call(func(raw *C.gf_context) C.gf_status {
		return C.gf_context_set_profiling(raw, flag)
	})
}

// Profile is the times taken since profiling began, the largest first.
func (c *Context) Profile() ([]ProfileEntry, error) {
	call := func(out *C.gf_profile_entry, capacity C.size_t, count *C.size_t) error {
		return c.handle.call(func(raw *C.gf_context) C.gf_status {
			return C.gf_context_profile(raw, out, capacity, count)
		})
	}
	empty := C.gf_profile_entry{struct_size: C.sizeof_gf_profile_entry}
	raw, err := fill(empty, 64, call)
	entries := make([]ProfileEntry, len(raw))
	for i := range raw {
		e := &raw[i]
		entries[i] = ProfileEntry{C.GoString(&e.name[0]), int(e.calls), float64(e.seconds)}
	}
	return entries, err
}
