package sandbox

import "reflect"

// validateKeeper is validate for New: there is no command yet.
func validateKeeper(spec *Spec) error {
	f := &faults{}
	refuse(f, "it is a command's: see Sandbox.Command", []field{
		{"Args", spec.Args}, {"Stdin", spec.Stdin}, {"Stdout", spec.Stdout}, {"Stderr", spec.Stderr},
		{"ExtraFiles", spec.ExtraFiles}, {"Terminal", spec.Terminal}, {"Collect", spec.Collect},
	})
	validateCommand(f, spec)
	validateSandbox(f, spec)
	return f.err()
}

// validateJoin is validate for a command in a Sandbox.
func validateJoin(spec *Spec) error {
	f := &faults{}
	validateNamed(f, spec.Args)
	validateCommand(f, spec)
	others := spec.Limits
	others.WallTime, others.OutputMax, others.Rlimits = 0, 0, nil
	refuse(f, "it is the whole sandbox's: see New", []field{
		{"Root", spec.Root}, {"Mounts", spec.Mounts}, {"Hostname", spec.Hostname}, {"Network", spec.Network},
		{"UIDs", spec.UIDs}, {"GIDs", spec.GIDs}, {"Capabilities", spec.Capabilities}, {"Seccomp", spec.Seccomp},
		{"Supervisor", spec.Supervisor}, {"Limits", others}, {"Cgroup", spec.Cgroup}, {"AllowMissing", spec.AllowMissing},
	})
	refuse(f, "commands in a sandbox that lives cannot have one", []field{{"Terminal", spec.Terminal}})
	refuse(f, "what is in a sandbox that lives is copied by CopyOut", []field{{"Collect", spec.Collect}})
	validateIDs(f, spec)
	validateLimits(f, &spec.Limits)
	return f.err()
}

// field is a field of a Spec.
type field struct {
	name  string
	value any
}

// refuse adds a fault for each field that is not zero.
func refuse(f *faults, reason string, fields []field) {
	for _, field := range fields {
		if v := reflect.ValueOf(field.value); v.IsValid() && !v.IsZero() {
			f.add(field.name, "set, but %s", reason)
		}
	}
}
