//go:build !amd64 && !arm64

package image

const stubArch = ""

func interpreterText() []byte { return nil }

func handlerText() []byte { return nil }
