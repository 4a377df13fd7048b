//go:build !seccomp

package seccomp

// backendName is what Policy.Compile compiles with.
const backendName = "pure"
