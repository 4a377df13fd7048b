//go:build !seccomp

package seccomp

// theirCompilers are those of libseccomp: none in this build.
var theirCompilers []theirCompiler

const libseccompInUse = "not measured, since that takes -tags seccomp, cgo, pkg-config and libseccomp-dev"
