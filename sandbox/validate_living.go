package sandbox

import "reflect"

// validateKeeper is validate for New: there is no command yet.
func validateKeeper(spec *Spec) error {
	f := &faults{}
	refuseCommand(f, spec)
	validateCommand(f, spec)
	validateSandbox(f, spec)
	return f.err()
}

// refuseCommand reports what is set of a command's alone.
func refuseCommand(f *faults, spec *Spec) {
	refuse(f, "it is a command's", []field{
		{"Args", spec.Args}, {"Stdin", spec.Stdin}, {"Stdout", spec.Stdout}, {"Stderr", spec.Stderr},
		{"ExtraFiles", spec.ExtraFiles}, {"Terminal", spec.Terminal}, {"Collect", spec.Collect},
	})
}

// validateJoin is validate for a command in a Sandbox.
func validateJoin(spec *Spec) error {
	f := &faults{}
	validateNamed(f, spec.Args)
	validateCommand(f, spec)
	refuse(f, "it is that of the whole sandbox: see New", sandboxFields(spec))
	refuse(f, "what is in a sandbox that lives is copied by CopyOut", []field{{"Collect", spec.Collect}})
	validateIDs(f, spec)
	validateLimits(f, &spec.Limits)
	return f.err()
}

// sandboxFields are the fields of what holds every command.
func sandboxFields(spec *Spec) []field {
	limits := spec.Limits
	limits.WallTime, limits.OutputMax, limits.Rlimits = 0, 0, nil
	if len(limits.IOMax) == 0 {
		limits.IOMax = nil
	}
	if len(limits.HugetlbMax) == 0 {
		limits.HugetlbMax = nil
	}
	return []field{
		{"Root", spec.Root}, {"Mounts", spec.Mounts}, {"Hostname", spec.Hostname}, {"Network", spec.Network},
		{"UIDs", spec.UIDs}, {"GIDs", spec.GIDs}, {"Capabilities", spec.Capabilities}, {"Seccomp", spec.Seccomp},
		{"Supervisor", spec.Supervisor}, {"Limits", limits}, {"Cgroup", spec.Cgroup}, {"AllowMissing", spec.AllowMissing},
	}
}

// commandOf returns the Spec of a command in a sandbox, with what it takes over from the sandbox's. The limits of
// the sandbox as a whole stay there.
func commandOf(sandbox, command *Spec) Spec {
	full := *sandbox
	full.Args, full.Stdin, full.Stdout, full.Stderr, full.ExtraFiles = command.Args, command.Stdin, command.Stdout, command.Stderr, command.ExtraFiles
	full.Terminal = command.Terminal
	if command.Env != nil {
		full.Env = command.Env
	}
	if command.Dir != "" {
		full.Dir = command.Dir
	}
	if command.User != nil {
		full.User = command.User
	}
	if command.StopSignal != 0 {
		full.StopSignal, full.StopTimeout = command.StopSignal, command.StopTimeout
	}
	if command.Limits.WallTime != 0 {
		full.Limits.WallTime = command.Limits.WallTime
	}
	if command.Limits.OutputMax != 0 {
		full.Limits.OutputMax = command.Limits.OutputMax
	}
	return full
}

// field is a field of a Spec.
type field struct {
	name  string
	value any
}

// refuse adds a fault for each field that is not zero.
func refuse(f *faults, reason string, fields []field) {
	for _, field := range fields {
		v := reflect.ValueOf(field.value)
		if empty := !v.IsValid() || v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0; !empty {
			f.add(field.name, "set, but %s", reason)
		}
	}
}
