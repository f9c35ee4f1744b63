// Package grassflow trains and evaluates small language models, the attention-free Grassmann-flow
// model and a transformer of its size, through the installed libgrassflow.
//
// A [Context] owns a device; from it come [Tokenizer], [Dataset] and [Model]; a [Trainer] joins a
// model and a dataset. Each has a Close, and they may be closed in any order: what another handle
// still needs lives on. A handle that is never closed keeps its memory; no finalizer frees it,
// since a garbage collector that sees one pointer cannot know the gigabytes behind it.
//
// # Goroutines
//
// In C a context and all that came from it belong to one thread at a time. Here a mutex per context
// sees to that: every method may be called from any goroutine, and those of one context take turns,
// each for one call of the library, such as one training step. Work that is to run at once needs a
// context each. The text of an error stands on the context and not on a thread, and is read before
// the turn ends, so that no goroutine is ever locked to its thread.
//
// # Shapes and units
//
// Shapes are written with B sequences, T tokens of one sequence and a vocabulary of V; matrices are
// row-major. Losses are in nats per predicted token, or per pair, times in
// seconds.
package grassflow

// #cgo pkg-config: grassflow
// #include <grassflow.h>
import "C"

// Version is that of the library that runs, such as "0.1.0".
func Version() string {
	return C.GoString(C.gf_version_string())
}
