package idmap_test

import (
	"fmt"
	"strings"

	"github.com/ringfence-go/ringfence/idmap"
)

// The caller's own ID under another number: all that works without subordinate IDs.
func ExampleSingle() {
	m := idmap.Single(0, 1000)
	host, ok := m.HostID(0)
	fmt.Println(host, ok)
	_, ok = m.HostID(1)
	fmt.Println(ok)
	fmt.Print(m)
	// Output:
	// 1000 true
	// false
	// 0 1000 1
}

func ExampleMap_Validate() {
	m := idmap.Map{
		{ContainerID: 0, HostID: 100000, Size: 1000},
		{ContainerID: 999, HostID: 200000, Size: 1},
	}
	fmt.Println(m.Validate())
	// Output: ranges 0 and 1 overlap inside the namespace
}

// The user is root inside, and what /etc/subuid sets aside follows.
func ExampleSubordinate() {
	subuid := strings.NewReader("ann:100000:65536\nbob:165536:65536\n")
	ranges, err := idmap.Subordinate(subuid, "ann", 1000)
	if err != nil {
		fmt.Println(err)
		return
	}
	m := idmap.Single(0, 1000)
	next := 1
	for _, r := range ranges {
		m = append(m, idmap.Range{ContainerID: next, HostID: r.HostID, Size: r.Size})
		next += r.Size
	}
	fmt.Print(m)
	// Output:
	// 0 1000 1
	// 1 100000 65536
}
