package idmap_test

import (
	"fmt"
	"os"

	"github.com/ringfence-go/ringfence/idmap"
)

// A thousand IDs that no other sandbox of this user has. Inside they are 0 to 999; the caller's own ID is
// appended, as 1000.
func ExampleAuto() {
	r, err := idmap.Auto(1000)
	if err != nil {
		fmt.Println(err) // it says what the administrator can do
		return
	}
	defer r.Close() // when the sandbox has ended
	uids := append(r.UIDs, idmap.Range{ContainerID: 1000, HostID: os.Getuid(), Size: 1})
	fmt.Println(uids.HostID(1000))
}
