package main

import (
	"fmt"
	"strings"

	"github.com/moby/sys/capability"
)

// setCap takes the name of a capability in any case, with or without CAP_.
func setCap(o *options, a []string) error {
	name := strings.TrimPrefix(strings.ToLower(a[0]), "cap_")
	for _, c := range capability.ListKnown() {
		if c.String() == name {
			o.caps = append(o.caps, c)
			return nil
		}
	}
	return fmt.Errorf("%q is no capability (capabilities(7))", a[0])
}
