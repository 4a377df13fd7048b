package sandbox

import (
	"fmt"
	"testing"

	"github.com/ringfence-go/ringfence/seccomp"
)

// eachBare compiles the plans of hosts without user namespaces, with the versions of Landlock that differ most.
func eachBare(t *testing.T, arch, name string, uid int, do func(t *testing.T, file string, p *Plan)) {
	for _, abi := range []int{1, 4, 7} {
		file := fmt.Sprintf("bare-%d.%s.%s.txt", abi, name, arch)
		t.Run(file, func(t *testing.T) {
			host := pretendHost(arch, uid)
			host.facts.Landlock = abi
			host.refusal = &UnsupportedError{Feature: UserNamespace, Needs: "a sysctl"}
			spec := Spec{Args: []string{"sh"}, Env: []string{"PATH=/usr/bin:/bin", "TOKEN=" + secret}, Dir: "/srv/out", AllowMissing: bareFeatures,
				Mounts: []Mount{{Source: "/srv/in.txt", Target: "/srv/in.txt"}, {Source: "/srv/out", Target: "/srv/out", Writable: true}}}
			if abi == 4 {
				spec.Network, spec.Seccomp = HostNetwork{}, seccomp.Default()
			}
			p, err := Compile(spec, host)
			if err != nil {
				t.Fatal(err)
			}
			do(t, file, p)
		})
	}
}

func init() {
	reasons = append(reasons, []struct{ label, test string }{
		{`start the (reaper|guard)|end the reaper|reap until nothing is left|let the (reaper|guard) do nothing but wait.*|become the parent of what .*`, "TestWithoutNamespacesOrphansAreReaped"},
		{`open a pipe for the guard .*|kill the group when .*|end the guard, and .*|start a session, and a process group`, "TestWithoutNamespacesNothingOutlivesTheCommand"},
		{`end with the (guard|reaper)`, "TestWithoutUserNamespacesAKilledCallerLeavesNothing"},
		{`make a Landlock ruleset|allow the use of .*|hold the command to the Landlock ruleset`, "TestWithoutNamespacesOnlyFilesOfTheSpecAreOpened"},
		{`load the filter that stands for namespaces|keep the reaper out of the command's reach`, "TestWithoutNamespacesNobodyOutsideIsReachedByNumber"},
		{`drop every capability`, "TestRootWithoutUserNamespacesTheCommandIsSomebodyElse"},
	}...)
}

var pretendHosts = []struct {
	name string
	uid  int
}{{"user", 1000}, {"root", 0}}
