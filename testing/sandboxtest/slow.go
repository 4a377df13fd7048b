package sandboxtest

import (
	"os"
	"strconv"
	"time"
)

// slowEnv holds by how much the host is slower than a machine of its time.
const slowEnv = "RINGFENCE_SLOW"

// Slow returns d, or a multiple of it on a host that says in the environment variable RINGFENCE_SLOW how
// much slower than others it is, such as an emulated one. It is for limits that a test sets and that a
// well-behaved program must stay within; a test has no other use for time.
func Slow(d time.Duration) time.Duration { return scale(d, os.Getenv(slowEnv)) }

func scale(d time.Duration, factor string) time.Duration {
	if f, err := strconv.ParseFloat(factor, 64); err == nil && f > 1 {
		return time.Duration(float64(d) * f)
	}
	return d
}
