// Package seccomp turns a readable policy of system calls into a filter for the kernel, explains
// the filter, and proves it.
//
// A [Policy] is data: rules that name calls, conditions on their arguments, and an [Action] for
// each. [Policy.Compile] translates it to the classic BPF program that seccomp(2) takes, for one or
// more architectures. A [Filter] can be printed with the names of its calls ([Filter.Explain]) and
// run in user space ([Filter.Eval]). [Policy.Decide] evaluates the policy directly, without a
// filter; the tests hold the two against each other.
//
// How to read it: policy.go and action.go are the language, decide.go is its meaning in thirty
// lines, compile.go lists the stages from policy to filter, eval.go is the machine that runs it.
// default.go and strict.go are the built-in policies, call class by call class with reasons.
// oci.go, raw.go and text.go read and write other forms.
//
// # What every filter does
//
//   - A call through an ABI that was not compiled in gets [Policy.BadArch]. On amd64 the x32 ABI is
//     foreign too, although the kernel gives both the same architecture; a filter that forgets it
//     lets every call through by another number.
//   - A call whose number is not in the table of its architecture gets [Policy.Unknown], by default
//     errno ENOSYS: what a kernel says that does not have the call, so that a C library falls back
//     to an older one. A call that is newer than the policy is therefore never open by default,
//     whatever [Policy.Default] is.
//   - The first rule that matches decides.
//
// The package needs no privilege and touches no operating system: a policy for Linux can be written,
// compiled, tested and printed anywhere. Loading the filter is the business of package sandbox.
//
// # What a filter cannot do
//
// It sees the number, the architecture and the six argument registers, not memory: a path, a
// socket address or the struct of clone3(2) cannot be checked. The kernel truncates arguments of
// type int to 32 bits, the filter sees all 64: compare them under the mask [Low32], or a caller gets
// around a refusal by setting a high bit (CVE-2019-10063).
//
// # Two back ends
//
// The default build compiles with this package's own compiler in pure Go. With the build tag
// seccomp (as runc spells it; it needs Linux, cgo and libseccomp), [Policy.Compile] drives libseccomp
// instead. It is never given two rules for one call, which it is known to compile wrongly, and what it
// makes is checked before it is used; conditions that it has no form for, two on one argument or a
// mask with another comparison than Equal, are an error. On x32 it looks at the lower halves of
// arguments only.
package seccomp
