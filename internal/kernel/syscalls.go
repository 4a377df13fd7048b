package kernel

import "sort"

//go:generate go run ./gen

// entry is one line of a system call table.
type entry struct {
	nr   uint32
	name string
}

// table returns the calls of an ABI sorted by number, and their indices sorted by name. Both are
// constants in all but the language's sense: nothing writes to them.
func (a Arch) table() ([]entry, []uint16) {
	switch a {
	case AMD64:
		return amd64Calls[:], amd64ByName[:]
	case I386:
		return i386Calls[:], i386ByName[:]
	case X32:
		return x32Calls[:], x32ByName[:]
	case ARM64:
		return arm64Calls[:], arm64ByName[:]
	case ARM:
		return armCalls[:], armByName[:]
	}
	return nil, nil
}

// Len returns how many calls the table of the ABI has; an index of the table is below it.
func (a Arch) Len() int {
	calls, _ := a.table()
	return len(calls)
}

// At returns line i of the table, which is sorted by number.
func (a Arch) At(i int) (nr uint32, name string) {
	calls, _ := a.table()
	return calls[i].nr, calls[i].name
}

// Index returns the line of the call with this name.
func (a Arch) Index(name string) (int, bool) {
	calls, byName := a.table()
	lo, hi := 0, len(byName)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if calls[byName[mid]].name < name {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(byName) && calls[byName[lo]].name == name {
		return int(byName[lo]), true
	}
	return 0, false
}

// Number returns the number of the call with this name. The number of an x32 call carries X32Bit.
func Number(a Arch, name string) (int, bool) {
	i, ok := a.Index(name)
	if !ok {
		return 0, false
	}
	calls, _ := a.table()
	return int(calls[i].nr), true
}

// Name returns the name of the call with this number.
func Name(a Arch, nr int) (string, bool) {
	calls, _ := a.table()
	i := sort.Search(len(calls), func(i int) bool { return int64(calls[i].nr) >= int64(nr) })
	if i < len(calls) && int64(calls[i].nr) == int64(nr) {
		return calls[i].name, true
	}
	return "", false
}

// privateBase is where ARM starts the calls of its own (__ARM_NR_BASE), far above the others.
const privateBase = 0xf0000

// MaxNumber returns the highest number of the table that is not private to the architecture: the
// newest call that the table knows. It is -1 for an unknown ABI.
func MaxNumber(a Arch) int {
	calls, _ := a.table()
	for i := len(calls) - 1; i >= 0; i-- {
		if calls[i].nr&^X32Bit < privateBase {
			return int(calls[i].nr)
		}
	}
	return -1
}
