package main

import (
	"encoding/json"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/ringfence-go/ringfence/sandbox"
)

func findings() []sandbox.FeatureState {
	cause := &sandbox.UnsupportedError{Feature: sandbox.Cgroup, Needs: "a delegated cgroup v2", Remedy: "ask", Err: syscall.EPERM}
	return []sandbox.FeatureState{
		{Feature: sandbox.UserNamespace, State: sandbox.Works, By: "CLONE_NEWUSER"},
		{Feature: sandbox.Cgroup, State: sandbox.Missing, Cause: cause, Remedy: "do this\n  and that"},
		{Feature: sandbox.MemoryLimit, State: sandbox.Missing, Cause: cause, Remedy: "do this\n  and that"},
		{Feature: sandbox.MemfdExec, State: sandbox.Inconclusive, Cause: errors.New("no time")},
	}
}

func TestDiagnosisIsATable(t *testing.T) {
	const want = `The zero Spec works here: a sandbox with every protection that needs no asking.

FEATURE                        STATE         BY, OR WHY NOT
user namespace                 works         CLONE_NEWUSER
cgroup                         missing       [1]
memory limit                   missing       [1]
execution of the set-up image  inconclusive  [2]

[1] cgroup is not supported here: it needs a delegated cgroup v2: operation not permitted
    Remedy: do this
      and that

[2] no time
`
	if got := diagnosisText(findings(), nil, false); got != want {
		t.Errorf("%s", got)
	}
	colored := diagnosisText(findings(), errors.New("x"), true)
	if !strings.Contains(colored, "\x1b[32mworks       \x1b[0m") || !strings.Contains(colored, "does not work here") {
		t.Errorf("%q", colored)
	}
	if strings.Contains(diagnosisText(findings(), errors.New("x"), false), "\x1b") {
		t.Error("control sequences without a terminal")
	}
}

func TestDiagnosisIsJSON(t *testing.T) {
	zero := findings()[1].Cause
	text, err := json.Marshal(newDiagnosis(findings(), zero))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`{"works":false,"errors":[{"kind":"unsupported",`, `{"feature":"user namespace","state":"works","by":"CLONE_NEWUSER"}`,
		`{"feature":"execution of the set-up image","state":"inconclusive","cause":"no time"}`, `"remedy":"do this\n  and that"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
}

func TestDoctorTakesNothingElse(t *testing.T) {
	for _, args := range [][]string{{"--doctor"}, {"--doctor", "--json"}, {"--json=x", "--doctor"}} {
		if o, err := parse(args); err != nil || !o.doctor {
			t.Errorf("%q: %v", args, err)
		}
	}
	for _, args := range [][]string{{"--doctor", "true"}, {"--doctor", "--memory=1G"}, {"--explain", "--doctor"}, {"--doctor", "--cgroup=/x"}} {
		if _, err := parse(args); err == nil || !strings.Contains(err.Error(), "--doctor") {
			t.Errorf("%q: %v", args, err)
		}
	}
}
