package kernel

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// CapsetTo leaves the calling thread these capabilities alone, in the effective, the permitted and the
// inheritable set.
func CapsetTo(set uint64) Call {
	header, data := Zeroed(8), Zeroed(24)
	header.put32(0, unix.LINUX_CAPABILITY_VERSION_3)
	// struct __user_cap_data_struct: a triple of the low halves, then one of the high.
	for i := range 3 {
		data.put32(4*i, uint32(set))
		data.put32(12+4*i, uint32(set>>32))
	}
	return Call{Name: "capset", Args: []Arg{{Mem: header, Text: "{version=3, pid=0}"}, {Mem: data, Show: showCapabilities}}}
}

func showCapabilities(a Arg) string {
	var shown string
	for i, name := range [...]string{"effective", "permitted", "inheritable"} {
		if i > 0 {
			shown += ", "
		}
		shown += name + "="
		if set := uint64(a.Mem.uint32(4*i)) | uint64(a.Mem.uint32(12+4*i))<<32; set == 0 {
			shown += "0"
		} else {
			shown += fmt.Sprintf("%#x", set)
		}
	}
	return "{" + shown + "}"
}

// Capset drops every capability of the calling thread.
func Capset() Call { return CapsetTo(0) }

// RaiseAmbient adds a capability to those that an execution by a user other than root keeps.
func RaiseAmbient(capability int) Call {
	return Call{Name: "prctl", Args: []Arg{{Value: unix.PR_CAP_AMBIENT, Show: showPrctl},
		named(unix.PR_CAP_AMBIENT_RAISE, "PR_CAP_AMBIENT_RAISE"), num(int64(capability)), num(0), num(0)}}
}
