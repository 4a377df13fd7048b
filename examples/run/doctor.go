package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"reflect"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/ringfence-go/ringfence/sandbox"
)

// checkDoctor reports what --doctor has no use for.
func (o *options) checkDoctor() error {
	if len(o.command) > 0 {
		return errors.New("--doctor: it runs commands of its own, and takes none")
	}
	if alone := (options{command: o.command, doctor: true, json: o.json, jsonFile: o.jsonFile}); !reflect.DeepEqual(*o, alone) {
		return errors.New("--doctor: of the other options it takes --json alone")
	}
	return nil
}

// diagnose is --doctor: it tries what sandboxes can have on this machine, writes it down, and returns 0 if the
// zero Spec works.
func (o *options) diagnose() int {
	to := os.Stdout
	if o.jsonFile != "" {
		f, err := os.Create(o.jsonFile)
		if err != nil {
			complain(fmt.Errorf("--json: %w", err))
			return exitFailed
		}
		defer f.Close()
		to = f
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// As in every run of this program, it may be moved to a cgroup below its own. Whether there is one is told below.
	_, _ = sandbox.Run(ctx, sandbox.Spec{Args: []string{"true"}, Cgroup: sandbox.CgroupOptions{Always: true, MoveCaller: true}})
	host, err := sandbox.Probe(ctx)
	if releaseErr := sandbox.ReleaseCgroups(context.WithoutCancel(ctx)); releaseErr != nil {
		complain(releaseErr)
	}
	if err != nil {
		complain(err)
		return exitFailed
	}
	if o.json {
		lines := json.NewEncoder(to)
		lines.SetEscapeHTML(false) // a remedy is for a person too, and holds > and &
		err = lines.Encode(newDiagnosis(host.Features(), host.Err()))
	} else {
		_, err = io.WriteString(to, diagnosisText(host.Features(), host.Err(), colorful(to)))
	}
	if err != nil {
		complain(err)
		return exitFailed
	}
	if host.Err() != nil {
		return exitFailed
	}
	return 0
}

// diagnosis is what --doctor --json writes, one object on one line.
type diagnosis struct {
	Works    bool      `json:"works"`            // the zero Spec
	Errors   []fault   `json:"errors,omitempty"` // why it does not
	Features []finding `json:"features"`
}

// finding is a sandbox.FeatureState.
type finding struct {
	Feature string `json:"feature"`
	State   string `json:"state"` // "works", "missing" or "inconclusive"
	By      string `json:"by,omitempty"`
	Cause   string `json:"cause,omitempty"`
	Remedy  string `json:"remedy,omitempty"`
}

func newDiagnosis(features []sandbox.FeatureState, zero error) diagnosis {
	d := diagnosis{Works: zero == nil}
	for _, err := range faults(zero) {
		d.Errors = append(d.Errors, newFault(err))
	}
	for _, s := range features {
		f := finding{Feature: string(s.Feature), State: s.State.String(), By: s.By, Remedy: s.Remedy}
		if s.Cause != nil {
			f.Cause = s.Cause.Error()
		}
		d.Features = append(d.Features, f)
	}
	return d
}

// colorful reports whether what is written to f is seen in colors: https://no-color.org.
func colorful(f *os.File) bool {
	return term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// palette holds control sequences (console_codes(4)); empty ones where there are no colors.
type palette struct{ bold, end string }

var stateColors = map[sandbox.State]string{sandbox.Works: "\x1b[32m", sandbox.Missing: "\x1b[31m", sandbox.Inconclusive: "\x1b[33m"}

// note is what is wrong with one feature or several.
type note struct{ cause, remedy string }

// diagnosisText is the table, and below it the causes and remedies: many features often lack the same.
func diagnosisText(features []sandbox.FeatureState, zero error, colors bool) string {
	var b strings.Builder
	p := palette{}
	if colors {
		p = palette{bold: "\x1b[1m", end: "\x1b[0m"}
	}
	verdict := "The zero Spec works here: a sandbox with every protection that needs no asking."
	if zero != nil {
		verdict = "The zero Spec does not work here: a command without options cannot be run."
	}
	fmt.Fprintf(&b, "%s%s%s\n\n", p.bold, verdict, p.end)
	fmt.Fprintf(&b, "%s%-*s  %-*s  %s%s\n", p.bold, featureWidth, "FEATURE", stateWidth, "STATE", "BY, OR WHY NOT", p.end)
	var notes []note
	for _, s := range features {
		state := fmt.Sprintf("%-*s", stateWidth, s.State)
		if colors {
			state = stateColors[s.State] + state + p.end
		}
		by := s.By
		if s.Cause != nil {
			by = fmt.Sprintf("[%d]", noteNumber(&notes, note{causeText(s), s.Remedy}))
		}
		b.WriteString(strings.TrimRight(fmt.Sprintf("%-*s  %s  %s", featureWidth, s.Feature, state, by), " ") + "\n")
	}
	for i, n := range notes {
		fmt.Fprintf(&b, "\n%s[%d]%s %s\n", p.bold, i+1, p.end, strings.ReplaceAll(n.cause, "\n", "\n    "))
		if n.remedy == "" {
			continue
		}
		fmt.Fprintf(&b, "    %sRemedy:%s %s\n", p.bold, p.end, strings.ReplaceAll(n.remedy, "\n", "\n    "))
	}
	return b.String()
}

// The columns are as wide as the longest feature and state.
const featureWidth, stateWidth = 29, 12

// noteNumber returns the number of n, which is appended if it is not there yet.
func noteNumber(notes *[]note, n note) int {
	for i, have := range *notes {
		if have == n {
			return i + 1
		}
	}
	*notes = append(*notes, n)
	return len(*notes)
}

// causeText is a cause without the remedy that most end with, since a better one follows.
func causeText(s sandbox.FeatureState) string {
	var lines []string
	for _, err := range faults(s.Cause) {
		text := strings.TrimPrefix(err.Error(), "sandbox: ")
		var unsupported *sandbox.UnsupportedError
		var op *sandbox.OpError
		switch {
		case s.Remedy == "":
		case errors.As(err, &unsupported) && unsupported.Remedy != "":
			text = strings.TrimSuffix(text, " ("+unsupported.Remedy+")")
		case errors.As(err, &op) && op.Remedy != "":
			text = strings.TrimSuffix(text, " ("+op.Remedy+")")
		}
		lines = append(lines, text)
	}
	return strings.Join(lines, "\n")
}
