//go:build amd64 || arm64

package image

import (
	"runtime"
	"unsafe"
)

const stubArch = runtime.GOARCH

// interpreterAddr returns where the interpreter stands in this program's text.
func interpreterAddr() *byte

// handlerAddr returns where the signal handler stands in this program's text.
func handlerAddr() *byte

// interpreterText returns the text from the interpreter on. The slice is only read, and only up to the
// mark that ends the code.
func interpreterText() []byte { return unsafe.Slice(interpreterAddr(), maxCode) }

func handlerText() []byte { return unsafe.Slice(handlerAddr(), maxCode) }
