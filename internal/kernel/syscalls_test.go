package kernel

import "testing"

// The numbers are those of the kernel's tables (arch/*/entry/syscalls, asm-generic/unistd.h).
func TestNumbersOfEveryABI(t *testing.T) {
	for _, tt := range []struct {
		arch Arch
		name string
		nr   int
	}{
		{AMD64, "read", 0}, {AMD64, "clone3", 435}, {AMD64, "execve", 59}, {AMD64, "uretprobe", 335},
		{I386, "restart_syscall", 0}, {I386, "read", 3}, {I386, "socketcall", 102},
		{ARM64, "read", 63}, {ARM64, "newfstatat", 79}, {ARM64, "clone", 220},
		{ARM, "read", 3}, {ARM, "set_tls", 0xf0005}, {ARM, "mmap2", 192},
		{X32, "read", X32Bit}, {X32, "ioctl", X32Bit | 514}, {X32, "clone3", X32Bit | 435},
	} {
		if nr, ok := Number(tt.arch, tt.name); nr != tt.nr || !ok {
			t.Errorf("Number(%s, %s) = %d, %v, want %d", tt.arch, tt.name, nr, ok, tt.nr)
		}
		if name, ok := Name(tt.arch, tt.nr); name != tt.name || !ok {
			t.Errorf("Name(%s, %#x) = %q, %v, want %q", tt.arch, tt.nr, name, ok, tt.name)
		}
	}
}

func TestUnknownNamesAndNumbers(t *testing.T) {
	for _, name := range []string{"", "a", "open", "zzz", "syscall_mask", "arch_specific_syscall"} {
		if nr, ok := Number(ARM64, name); ok {
			t.Errorf("Number(arm64, %q) = %d", name, nr)
		}
	}
	for _, nr := range []int{-1, 337, 423, 1 << 20, X32Bit} {
		if name, ok := Name(AMD64, nr); ok {
			t.Errorf("Name(amd64, %d) = %q", nr, name)
		}
	}
	if _, ok := Number("vax", "read"); ok {
		t.Error("a table for an unknown ABI")
	}
	if MaxNumber("vax") != -1 || Arch("vax").AuditArch() != 0 || Arch("vax").Len() != 0 {
		t.Error("an unknown ABI is not empty")
	}
}

func TestTablesAreSortedAndAgreeWithTheirIndex(t *testing.T) {
	for _, a := range Archs() {
		if got, ok := ParseArch(string(a)); got != a || !ok {
			t.Errorf("ParseArch(%s) = %s, %v", a, got, ok)
		}
		if a.Len() < 300 {
			t.Errorf("%s: only %d calls", a, a.Len())
		}
		last := int64(-1)
		for i := range a.Len() {
			nr, name := a.At(i)
			if int64(nr) <= last {
				t.Errorf("%s: %s is out of order", a, name)
			}
			last = int64(nr)
			if j, ok := a.Index(name); j != i || !ok {
				t.Errorf("%s: Index(%s) = %d, %v, want %d", a, name, j, ok, i)
			}
		}
	}
	if _, ok := ParseArch("mips"); ok {
		t.Error("ParseArch takes an ABI without a table")
	}
}

func TestMaxNumberLeavesOutPrivateCalls(t *testing.T) {
	if n := MaxNumber(ARM); n < 448 || n > 4096 {
		t.Errorf("MaxNumber(arm) = %d", n)
	}
	if n := MaxNumber(X32); n != X32Bit|547 {
		t.Errorf("MaxNumber(x32) = %#x", n)
	}
	if a, b := MaxNumber(AMD64), MaxNumber(ARM64); a != b {
		t.Errorf("newest call of amd64 is %d, of arm64 %d: all ABIs number new calls alike", a, b)
	}
}
