//go:build seccomp && !(cgo && linux)

package seccomp

// Whoever asks for libseccomp must not get another compiler without a word. The name below is not
// defined, so that the build stops with it as its message.
var _ = the_build_tag_seccomp_needs_linux_and_cgo_and_libseccomp
