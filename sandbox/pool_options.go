package sandbox

import (
	"runtime"
	"time"
)

// PoolOptions bounds a Pool.
type PoolOptions struct {
	// Size is how many sandboxes are kept ready; zero is as many as there are processors.
	Size int
	// Running is how many commands run at a time: Start waits while there are more. Zero is no limit.
	Running int
	// Idle is after how long without a command those that are ready are ended. The next command waits for one
	// to be made. Zero is never.
	Idle time.Duration
}

// maxPool bounds a pool: each sandbox that is ready takes two processes and half a dozen descriptors.
const maxPool = 1024

// makers is how many sandboxes of a pool are made at a time.
func makers(size int) int { return min(size, runtime.GOMAXPROCS(0)) }

// validatePool is validate for NewPool: there is no command yet.
func validatePool(spec *Spec, o *PoolOptions) error {
	if o.Size == 0 {
		o.Size = runtime.GOMAXPROCS(0)
	}
	f := &faults{}
	if o.Size < 0 || o.Size > maxPool {
		f.add("PoolOptions.Size", "%d is not from 0 to %d", o.Size, maxPool)
	}
	if o.Running < 0 {
		f.add("PoolOptions.Running", "%d is negative", o.Running)
	}
	if o.Idle < 0 {
		f.add("PoolOptions.Idle", "%v is negative", o.Idle)
	}
	refuseCommand(f, spec)
	validateCommand(f, spec)
	validateSandbox(f, spec)
	return f.err()
}

// validatePooled is validate for a command of a Pool.
func validatePooled(spec *Spec) error {
	f := &faults{}
	validateNamed(f, spec.Args)
	validateCommand(f, spec)
	const reason = "it is that of the whole pool: see NewPool"
	refuse(f, reason, sandboxFields(spec))
	refuse(f, reason, []field{{"User", spec.User}, {"Limits.Rlimits", spec.Limits.Rlimits}})
	const never = "commands of a pool cannot have it"
	refuse(f, never, []field{{"ExtraFiles", spec.ExtraFiles}, {"Terminal", spec.Terminal}, {"Collect", spec.Collect}})
	validateLimits(f, &spec.Limits)
	return f.err()
}
