package sandboxtest

import (
	"testing"
	"time"
)

func TestScale(t *testing.T) {
	for factor, want := range map[string]time.Duration{
		"": time.Second, "5": 5 * time.Second, "1.5": 1500 * time.Millisecond, "0": time.Second, "-2": time.Second, "x": time.Second, "NaN": time.Second,
	} {
		if got := scale(time.Second, factor); got != want {
			t.Errorf("%q: %v, want %v", factor, got, want)
		}
	}
}
