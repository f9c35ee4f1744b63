package grassflow

// #include <grassflow.h>
import "C"

import (
	"fmt"
	"io/fs"
)

// Status is the kind of a failure. It is an error itself, for [errors.Is]:
//
//	if errors.Is(err, grassflow.ErrMismatch) { ... }
type Status int

// The kinds of failures.
const (
	ErrInvalidArgument Status = C.GF_ERROR_INVALID_ARGUMENT // an argument or option is out of range
	ErrOutOfMemory     Status = C.GF_ERROR_OUT_OF_MEMORY    // on the host or the GPU
	ErrNotFound        Status = C.GF_ERROR_NOT_FOUND        // a file or a name
	ErrIO              Status = C.GF_ERROR_IO               // reading or writing failed
	ErrFormat          Status = C.GF_ERROR_FORMAT           // a file is damaged or of another format
	ErrMismatch        Status = C.GF_ERROR_MISMATCH         // a file and a configuration do not agree
	ErrNotFinite       Status = C.GF_ERROR_NOT_FINITE       // a loss or gradient is not finite
	ErrDevice          Status = C.GF_ERROR_DEVICE           // the device is missing or failed
	ErrUnsupported     Status = C.GF_ERROR_UNSUPPORTED      // not supported by this build
	ErrInternal        Status = C.GF_ERROR_INTERNAL         // a mistake in the library: report it
)

// Error says what the status means.
func (s Status) Error() string {
	return C.GoString(C.gf_status_text(C.gf_status(s)))
}

// Is lets [ErrNotFound] count as [fs.ErrNotExist].
func (s Status) Is(target error) bool {
	return s == ErrNotFound && target == fs.ErrNotExist
}

// Error is a failure: its kind, and a text that names the file, line, option or size at fault.
type Error struct {
	Status Status
	Text   string
}

func (e *Error) Error() string {
	return "grassflow: " + e.Text
}

// Unwrap returns the status.
func (e *Error) Unwrap() error {
	return e.Status
}

func newError(status C.gf_status, text string) error {
	if text == "" { // as when memory ran out for the text itself
		text = Status(status).Error()
	}
	return &Error{Status(status), text}
}

func invalidArgument(format string, arguments ...any) error {
	return &Error{ErrInvalidArgument, fmt.Sprintf(format, arguments...)}
}
