package seccomp

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestTextRoundTrip(t *testing.T) {
	policies := slices.Collect(func(yield func(*Policy) bool) {
		for _, p := range builtins() {
			if !yield(p) {
				return
			}
		}
		for seed := range uint64(300) {
			if !yield(randomPolicy(rand.New(rand.NewPCG(seed, 7)), tableNames())) {
				return
			}
		}
	})
	for _, p := range policies {
		text, err := p.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var again Policy
		if err := again.UnmarshalText(text); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if !reflect.DeepEqual(p, &again) {
			t.Fatalf("read back as another policy:\n%s\n%s", text, again.String())
		}
	}
}

func TestTextFaults(t *testing.T) {
	for _, tt := range []struct{ text, field string }{
		{"", "Default"}, {"default", "line 1"}, {"default allow allow", "line 1"}, {"\n# x\ndefault perhaps", "line 3"},
		{"default allow\ndefault allow", "line 2"}, {"default allow\n\tread", "line 2"},
		{"default allow\nlog when arg0 == 1\n\tread", "line 2"}, {"default allow\nlog if arg0 == 1 arg1 == 1", "line 2"},
		{"default allow\nlog if arg0 == 1 and", "line 2"}, {"default allow\nlog if arg0 = 1", "line 2"},
		{"default allow\nlog if arg == 1", "line 2"}, {"default allow\nlog if arg0 & 0 == 1", "line 2"},
		{"default allow\nlog if arg0 & 3 ==", "line 2"}, {"default allow\nlog if arg0 == 0x10000000000000000", "line 2"},
		{"default allow\nlog if arg7 == 1\n\tread", "Rules[0].Args[0].Index"}, {"default allow\nlog\n\traed", "Rules[0].Names[0]"},
		{"default allow\nlog", "Rules[0].Names"}, {"default allow\nerrno(77777)\n\tread", "line 2"},
	} {
		p := Policy{Default: Log}
		err := p.UnmarshalText([]byte(tt.text))
		if !slices.Contains(fields(err), tt.field) {
			t.Errorf("%q: %v, want a fault at %s", tt.text, err, tt.field)
		}
		if p.Default != Log || p.Rules != nil {
			t.Errorf("%q changed the policy", tt.text)
		}
	}
	if _, err := (&Policy{}).MarshalText(); err == nil {
		t.Error("MarshalText of an invalid policy")
	}
	if s := (&Policy{Rules: []Rule{{Args: []Arg{{}}}}}).String(); !strings.Contains(s, "none if arg0 none 0x0") {
		t.Errorf("an invalid policy prints as %q", s)
	}
}
