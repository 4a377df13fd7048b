package seccomp

import "testing"

// FuzzAction reads actions: what is read is written so that it is read again, and is one that a filter may return.
func FuzzAction(f *testing.F) {
	for _, s := range []string{"allow", "errno(1)", "errno(EPERM)", "errno(4096)", "trace(7)", "trap", "trap(3)", "kill", "errno", "allow(1)", "errno(", "()", "notify"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAction(s)
		if err != nil {
			return
		}
		if fault := a.check(); fault != "" {
			t.Errorf("%q: %s", s, fault)
		}
		if again, err := ParseAction(a.String()); err != nil || again != a {
			t.Errorf("%q is written as %q, and that is read as %v, %v", s, a, again, err)
		}
	})
}
