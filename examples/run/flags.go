package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/ringfence-go/ringfence/sandbox"
)

// parse reads a command line: options up to the first argument that is none, or up to "--"; the rest is
// the command. It looks at nothing but args.
func parse(args []string) (options, error) {
	var o options
	for len(args) > 0 {
		arg := args[0]
		if arg == "--" {
			args = args[1:]
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			break
		}
		args = args[1:]
		if short, ok := spellOut(arg); ok {
			args = append(short, args...)
			continue
		}
		opt, ok := find(arg)
		if !ok {
			return o, fmt.Errorf("%s: there is no such option", arg)
		}
		values, rest, err := opt.take(arg, args)
		if err == nil {
			err = opt.set(&o, values)
		}
		if err != nil {
			return o, fmt.Errorf("--%s: %w", opt.name, err)
		}
		args = rest
	}
	o.command = args
	switch {
	case o.help || o.version:
	case o.doctor:
		return o, o.checkDoctor()
	case len(args) == 0:
		return o, errors.New("there is no command to run")
	case o.rootWritable && o.root == "":
		return o, errors.New("--root-writable: there is no --root")
	case o.stopTimeout > 0 && o.stopSignal == 0:
		return o, errors.New("--stop-timeout: there is no --stop-signal")
	case o.interactive && !o.tty:
		return o, errors.New("--interactive: there is no --tty to type at; without one the command has standard input itself")
	case o.explain && o.json:
		return o, errors.New("--explain: nothing runs, so --json has nothing to tell")
	case o.explain && o.learn != "":
		return o, errors.New("--explain: nothing runs, so --learn has nothing to learn")
	case o.limits.MemorySwapMax > 0 && o.limits.MemoryMax == 0:
		return o, errors.New("--memory-swap: there is no --memory")
	case o.checkIDs() != nil:
		return o, o.checkIDs()
	case o.stdinFiles() > 1:
		return o, errors.New("--file: standard input can be read once")
	}
	return o, nil
}

// spellOut returns the long options that short ones stand for; -it is two.
func spellOut(arg string) (long []string, ok bool) {
	if strings.HasPrefix(arg, "--") {
		return nil, false
	}
	names := map[rune]string{'h': "--help", 't': "--tty", 'i': "--interactive"}
	for _, c := range arg[1:] {
		name, ok := names[c]
		if !ok {
			return nil, false
		}
		long = append(long, name)
	}
	return long, true
}

// find returns the option that arg names, with or without a value.
func find(arg string) (option, bool) {
	name, isLong := strings.CutPrefix(arg, "--")
	name, _, _ = strings.Cut(name, "=")
	for _, s := range sections() {
		for _, opt := range s.options {
			if isLong && opt.name == name {
				return opt, true
			}
		}
	}
	return option{}, false
}

// take returns the values of an option that was found in arg, with args behind it, and what follows.
//
// What is one argument and what is two never depends on what the arguments look like: a path may hold
// any character, and a guess that went wrong would show the wrong file to the command.
func (opt option) take(arg string, args []string) (values, rest []string, err error) {
	_, value, attached := strings.Cut(arg, "=")
	optional := strings.HasPrefix(opt.arg, "[=")
	n := len(strings.Fields(opt.arg))
	switch {
	case attached && n == 0:
		return nil, nil, errors.New("it takes no value")
	case attached && n == 2:
		if strings.Count(value, ":") != 1 {
			return nil, nil, fmt.Errorf("%q is not of the form SRC:DST; a path with a colon needs --%s %s", value, opt.name, opt.arg)
		}
		return strings.Split(value, ":"), args, nil
	case attached:
		return []string{value}, args, nil
	case optional:
		return nil, args, nil
	case len(args) < n:
		return nil, nil, fmt.Errorf("it takes %s", opt.arg)
	}
	return args[:n], args[n:], nil
}

// stdinFiles returns how many files are to be filled from standard input.
func (o *options) stdinFiles() int {
	n := 0
	for _, m := range o.mounts {
		if m.Type == sandbox.File && m.Source == "-" {
			n++
		}
	}
	return n
}

// parseSize reads a positive number of bytes with an optional suffix: k, M, G or T, powers of 1024.
func parseSize(s string) (int64, error) {
	n, err := parseNumber(s, math.MaxInt64)
	if err == nil && n == 0 {
		err = errors.New("0 is no size; for no limit leave the option out")
	}
	return int64(n), err
}

// parseLimit reads the value of a resource limit: a number as in parseSize, or "unlimited".
func parseLimit(s string) (uint64, error) {
	if s == "unlimited" {
		return sandbox.RlimInfinity, nil
	}
	return parseNumber(s, math.MaxUint64)
}

func parseNumber(s string, most uint64) (uint64, error) {
	digits := strings.TrimRight(s, "kKmMgGtT")
	shift := 0
	switch suffix := s[len(digits):]; strings.ToLower(suffix) {
	case "":
	case "k":
		shift = 10
	case "m":
		shift = 20
	case "g":
		shift = 30
	case "t":
		shift = 40
	default:
		return 0, fmt.Errorf("%q has more than one suffix", s)
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if errors.Is(err, strconv.ErrRange) || err == nil && n > most>>shift {
		return 0, fmt.Errorf("%q is too large", s)
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a number with an optional suffix k, M, G or T", s)
	}
	return n << shift, nil
}

// parseDuration reads a time as Go writes it, such as 1.5s or 2m; a number alone is seconds, as in
// timeout(1).
func parseDuration(s string) (time.Duration, error) {
	value := s
	if s != "" && (s[len(s)-1] >= '0' && s[len(s)-1] <= '9' || s[len(s)-1] == '.') {
		value += "s"
	}
	d, err := time.ParseDuration(value)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a time such as 10, 1.5s or 2m", s)
	case d <= 0:
		return 0, fmt.Errorf("%q is not positive; for no limit leave the option out", s)
	}
	return d, nil
}
