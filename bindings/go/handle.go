package grassflow

// #include <stdlib.h>
// #include <grassflow.h>
import "C"

import (
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
)

// shared is what a context and all handles made from it have in common: the turn, and the C
// context, which lives until the last of them is closed because the texts of errors stand on it.
type shared struct {
	turn    sync.Mutex
	order   uint64 // in which turns of several contexts are taken
	context *C.gf_context
	handles int // not yet closed
}

var contexts atomic.Uint64

func newShared(context *C.gf_context) *shared {
	return &shared{order: contexts.Add(1), context: context}
}

// check makes a Go error of a status, within the turn.
func (s *shared) check(status C.gf_status) error {
	if status >= C.GF_OK {
		return nil
	}
	return newError(status, C.GoString(C.gf_context_error(s.context)))
}

// handle is a C handle with its kind, such as "model", and what frees it.
type handle[P comparable] struct {
	*shared
	kind string
	raw  P
	free func(P)
}

// close frees it; a second time does nothing.
func (h *handle[P]) close() error {
	if h.shared == nil {
		return nil
	}
	h.turn.Lock()
	defer h.turn.Unlock()
	if h.raw == *new(P) {
		return nil
	}
	h.free(h.raw)
	h.raw = *new(P)
	h.handles--
	if h.handles == 0 {
		C.gf_context_free(h.context)
		h.context = nil
	}
	return nil
}

// open says whether it may be used, within the turn.
func (h *handle[P]) open() error {
	if h.raw == *new(P) {
		return invalidArgument("the %s is closed", h.kind)
	}
	return nil
}

// call runs a C call in turn.
func (h *handle[P]) call(run func(P) C.gf_status) error {
	return callBoth(h, h, func(raw, _ P) C.gf_status { return run(raw) })
}

// callBoth runs a C call on two handles, in turn for both; the text of a failure is on the first's.
func callBoth[P, Q comparable](h *handle[P], other *handle[Q], run func(P, Q) C.gf_status) error {
	if h.shared == nil || other.shared == nil {
		return invalidArgument("a handle is a zero value, not one that this package made")
	}
	defer together(h.shared, other.shared)()
	if err := h.open(); err != nil {
		return err
	}
	if err := other.open(); err != nil {
		return err
	}
	return h.check(run(h.raw, other.raw))
}

// create runs a C call that makes a handle in its out-parameter.
func create[P, N comparable](from *handle[P], kind string, free func(N),
	run func(P, *N) C.gf_status) (handle[N], error) {
	return createFromBoth(from, from, kind, free, func(raw, _ P, out *N) C.gf_status {
		return run(raw, out)
	})
}

// createFromBoth does so from two handles; what it makes belongs to the first's context.
func createFromBoth[P, Q, N comparable](from *handle[P], other *handle[Q], kind string,
	free func(N), run func(P, Q, *N) C.gf_status) (handle[N], error) {
	var raw N // on its own: memory that C writes to must hold no Go pointer
	err := callBoth(from, other, func(p P, q Q) C.gf_status {
		status := run(p, q, &raw)
		if status == C.GF_OK {
			from.handles++
		}
		return status
	})
	if err != nil {
		return handle[N]{}, err
	}
	return handle[N]{from.shared, kind, raw, free}, nil
}

// together takes the turns of two contexts, which may be the same one, always in the same order so
// that two goroutines never wait for each other.
func together(a, b *shared) (leave func()) {
	if a == b {
		a.turn.Lock()
		return a.turn.Unlock
	}
	if a.order > b.order {
		a, b = b, a
	}
	a.turn.Lock()
	b.turn.Lock()
	return func() {
		b.turn.Unlock()
		a.turn.Unlock()
	}
}

// fill runs a call that fills a buffer and says how many items there are, again where guess was
// low.
func fill[T any](empty T, guess int,
	call func(items *T, capacity C.size_t, count *C.size_t) error) ([]T, error) {
	for {
		items := make([]T, guess)
		for i := range items {
			items[i] = empty
		}
		var count C.size_t
		if err := call(first(items), C.size_t(guess), &count); err != nil {
			return nil, err
		}
		if int(count) <= guess {
			return items[:count], nil
		}
		guess = int(count)
	}
}

// first is where a slice begins; never nil, which the library takes for a mistake.
func first[T any](items []T) *T {
	if len(items) == 0 {
		return new(T)
	}
	return &items[0]
}

// text is a string for C, to be freed; NULL where it is the zero value.
type text struct{ raw *C.char }

func newText(what, value string) (text, error) {
	if at := strings.IndexByte(value, 0); at >= 0 {
		return text{}, invalidArgument("%s holds a zero byte at position %d", what, at)
	}
	return text{C.CString(value)}, nil
}

// newOptionalText makes NULL of "".
func newOptionalText(what, value string) (text, error) {
	if value == "" {
		return text{}, nil
	}
	return newText(what, value)
}

func (t text) free() {
	C.free(unsafe.Pointer(t.raw))
}

// int32Of keeps what does not fit at the end of the range, where the library refuses it.
func int32Of(value int) C.int32_t {
	if value > math.MaxInt32 {
		return math.MaxInt32
	}
	if value < math.MinInt32 {
		return math.MinInt32
	}
	return C.int32_t(value)
}
