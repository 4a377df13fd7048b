package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// The property_…_linux_test.go hold sandboxes to the words of spec.go: random Specs are run, the command
// tells what it observes, and a function of the Spec and the host, which knows nothing of how a sandbox is
// made, says what that must be. Read property_spec_linux_test.go for the Specs,
// property_oracle_linux_test.go and property_mounts_linux_test.go for what is expected.

const (
	// propertyEnv is how many Specs are tried, propertySeedEnv the seed of the first one; each Spec has a
	// seed of its own, one more than that before, which is the name of its test.
	propertyEnv     = "RINGFENCE_PROPERTY"
	propertySeedEnv = "RINGFENCE_PROPERTY_SEED"
)

func TestPayloadObservesWhatTheSpecSays(t *testing.T) { eachProperty(t, 40, observeEverywhere) }

func TestRootPayloadObservesWhatTheSpecSays(t *testing.T) { eachProperty(t, 40, observeEverywhere) }

// eachProperty tries n Specs, or as many as the environment says.
func eachProperty(t *testing.T, n int, try func(*testing.T, *property)) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	first := uint64(1)
	for name, set := range map[string]func(uint64){propertyEnv: func(v uint64) { n = int(v) }, propertySeedEnv: func(v uint64) { first = v }} {
		if s := os.Getenv(name); s != "" {
			v, err := strconv.ParseUint(s, 10, 62)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			set(v)
		}
	}
	for i := range uint64(n) {
		seed := first + i
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			p := newProperty(t, seed)
			try(t, p)
			if t.Failed() {
				t.Logf("%s=1 %s=%d runs this one again:\n%v", propertyEnv, propertySeedEnv, seed, p)
			}
		})
	}
}

// observeEverywhere runs the command in a sandbox of its own, and where the Spec can be had there also in one
// that lives and in one of a pool.
func observeEverywhere(t *testing.T, p *property) {
	spec := p.streams()
	p.check("Run", p.observe(spec, Run), spec, firstProcess)

	if p.rand.IntN(2) == 0 {
		spec = p.streams()
		keeper, command := p.divide(spec, true)
		s, err := New(t.Context(), keeper)
		if err != nil {
			t.Errorf("New: %v", err)
			return
		}
		p.check("Sandbox.Run", p.observe(command, s.Run), spec, joinedProcess)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	} else if len(spec.ExtraFiles) == 0 && spec.Terminal == nil {
		spec = p.streams()
		keeper, command := p.divide(spec, false)
		pool, err := NewPool(t.Context(), keeper, PoolOptions{Size: 1})
		if err != nil {
			t.Errorf("NewPool: %v", err)
			return
		}
		p.check("Pool.Run", p.observe(command, pool.Run), spec, firstProcess)
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	}
}

// divide gives what a Spec says to a sandbox that is there before, and to its command.
func (p *property) divide(spec Spec, joins bool) (keeper, command Spec) {
	keeper = spec
	keeper.Args, keeper.Stdin, keeper.Stdout, keeper.Stderr, keeper.ExtraFiles, keeper.Terminal = nil, nil, nil, nil, nil, nil
	command = Spec{Args: spec.Args, Stdin: spec.Stdin, Stdout: spec.Stdout, Stderr: spec.Stderr, ExtraFiles: spec.ExtraFiles, Terminal: spec.Terminal}
	// What is the command's own may be in either, and counts there before what is in the keeper's.
	if p.coin() && spec.Env != nil {
		keeper.Env, command.Env = []string{"WRONG=1"}, spec.Env
	}
	if p.coin() && spec.Dir != "" {
		keeper.Dir, command.Dir = "/usr", spec.Dir
	}
	if joins && p.coin() && spec.User != nil {
		keeper.User, command.User, p.ofFirst = nil, spec.User, true
	}
	if joins && p.coin() {
		keeper.Limits.Rlimits, command.Limits.Rlimits = nil, spec.Limits.Rlimits
	}
	return keeper, command
}

// property is a random Spec, and what was made for it on the host.
type property struct {
	t       *testing.T
	rand    *rand.Rand
	dir     string // of the sources
	spec    Spec   // without its streams
	request victim.Request
	world   world

	stdin, stdout, stderr string // the kinds of streams
	extra                 []bool // which of ExtraFiles there are; the last one is for the answer
	answers               func() []byte
	ofFirst               bool   // the User is the command's: what the sandbox makes belongs to the first IDs
	text                  string // what is in standard input
}

func (p *property) coin() bool       { return p.rand.IntN(2) == 0 }
func (p *property) oneIn(n int) bool { return p.rand.IntN(n) == 0 }
func (p *property) String() string {
	return describe(p.spec) + fmt.Sprintf("streams: %s, %s, %s; extra files %v", p.stdin, p.stdout, p.stderr, p.extra)
}
func pick[T any](p *property, of ...T) T { return of[p.rand.IntN(len(of))] }

// describe prints a Spec so that a program can be made of it.
func describe(spec Spec) string {
	var b strings.Builder
	spec.Args = spec.Args[:1:1]
	fmt.Fprintf(&b, "Args %q Env %q Dir %q Hostname %q Network %#v\nRoot %+v\n", spec.Args, spec.Env, spec.Dir, spec.Hostname, spec.Network, spec.Root)
	for i, m := range spec.Mounts {
		data := len(m.Data)
		m.Data = nil
		fmt.Fprintf(&b, "Mounts[%d]: %+q and %d bytes of Data\n", i, fmt.Sprintf("%+v", m), data)
	}
	fmt.Fprintf(&b, "UIDs %v GIDs %v User %+v Capabilities %v\nRlimits %v Terminal %+v\n", spec.UIDs, spec.GIDs, spec.User, spec.Capabilities, spec.Limits.Rlimits, spec.Terminal)
	if spec.Seccomp != nil {
		fmt.Fprintf(&b, "Seccomp: default %v, %d rules\n", spec.Seccomp.Default, len(spec.Seccomp.Rules))
	}
	return b.String()
}

// observe runs the command and returns what it tells; nil if it did not run.
func (p *property) observe(spec Spec, run func(context.Context, Spec) (*Result, error)) *victim.Observation {
	p.t.Helper()
	r, err := run(p.t.Context(), spec)
	answer := p.answers()
	if err != nil {
		p.t.Errorf("not started: %v", err)
		return nil
	}
	if err := r.Err(); err != nil {
		p.t.Errorf("the observer: %v: %s", err, answer)
		return nil
	}
	return p.parse(answer)
}

// parse finds the answer among what else a terminal shows.
func (p *property) parse(answer []byte) *victim.Observation {
	p.t.Helper()
	o := &victim.Observation{}
	at := bytes.Index(answer, []byte(`{"Args"`))
	if at < 0 {
		p.t.Errorf("no answer: %q", answer)
		return nil
	}
	if err := json.NewDecoder(bytes.NewReader(answer[at:])).Decode(o); err != nil {
		p.t.Errorf("%v: %q", err, answer)
		return nil
	}
	return o
}

// streams returns the Spec with new streams of the kinds that were chosen.
func (p *property) streams() Spec {
	spec := p.spec
	file := func(name string) *os.File {
		f, err := os.OpenFile(p.dir+"/"+name, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			p.t.Fatal(err)
		}
		p.t.Cleanup(func() { f.Close() })
		return f
	}
	switch p.stdin {
	case "reader":
		spec.Stdin = strings.NewReader(p.text)
	case "file":
		f := file("stdin")
		if err := os.WriteFile(f.Name(), []byte(p.text), 0o666); err != nil {
			p.t.Fatal(err)
		}
		spec.Stdin = f
	}
	var out bytes.Buffer
	p.answers = out.Bytes
	writer := func(kind, name string) io.Writer {
		switch kind {
		case "answer":
			return &out
		case "file":
			return file(name)
		case "writer":
			return &bytes.Buffer{}
		}
		return nil
	}
	spec.Stdout = writer(p.stdout, "stdout")
	if spec.Stderr = writer(p.stderr, "stderr"); p.stderr == "same" {
		spec.Stderr = spec.Stdout
	}
	for i, there := range p.extra {
		switch {
		case !there:
			spec.ExtraFiles = append(spec.ExtraFiles, nil)
		case i < len(p.extra)-1:
			spec.ExtraFiles = append(spec.ExtraFiles, file(fmt.Sprint("extra", i)))
		default:
			spec.ExtraFiles = append(spec.ExtraFiles, p.answerPipe())
		}
	}
	return spec
}

// answerPipe makes the answer come over a pipe.
func (p *property) answerPipe() *os.File {
	r, w, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	done := make(chan []byte, 1)
	go func() { // it ends with the last writer: answers closes ours
		data, _ := io.ReadAll(r)
		r.Close()
		done <- data
	}()
	p.t.Cleanup(func() { w.Close() })
	p.answers = func() []byte { w.Close(); return <-done }
	return w
}

// expect reports a difference.
func (p *property) expect(how, what string, got, want any) {
	p.t.Helper()
	g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want)
	if g != w {
		p.t.Errorf("%s: %s is %s, want %s", how, what, g, w)
	}
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}
