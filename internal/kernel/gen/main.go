// Command gen writes the system call tables of package kernel and the errno names of package
// seccomp from golang.org/x/sys/unix at the version that go.mod names. x/sys generates its files
// from the kernel's own headers, but builds only the one of the current GOARCH; a filter for a
// foreign ABI needs the others, so gen reads them as text.
//
// Run it with go generate ./internal/kernel after an update of x/sys. Its test fails if the
// tables are stale.
package main

import (
	"bytes"
	"cmp"
	"fmt"
	"go/format"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// call is one line of a table.
type call struct {
	nr   uint32
	name string
}

// source says which x/sys file a table comes from.
var sources = []struct{ table, file string }{
	{"amd64", "zsysnum_linux_amd64.go"},
	{"i386", "zsysnum_linux_386.go"},
	{"arm64", "zsysnum_linux_arm64.go"},
	{"arm", "zsysnum_linux_arm.go"},
}

// notCalls are constants of x/sys that are named like calls and are none: a mask of the old ARM
// ABI, and the place where an architecture of asm-generic puts calls of its own.
var notCalls = []string{"syscall_mask", "arch_specific_syscall"}

// armPrivate are the calls of arch/arm/include/uapi/asm/unistd.h above __ARM_NR_BASE, which x/sys
// leaves out.
var armPrivate = []call{
	{0xf0001, "breakpoint"}, {0xf0002, "cacheflush"}, {0xf0003, "usr26"},
	{0xf0004, "usr32"}, {0xf0005, "set_tls"}, {0xf0006, "get_tls"},
}

// x32Only are the calls that x32 numbers apart, because their arguments hold pointers or longs
// (arch/x86/entry/syscalls/syscall_64.tbl, ABI "x32"). They replace the numbers of amd64.
var x32Only = []call{
	{512, "rt_sigaction"}, {513, "rt_sigreturn"}, {514, "ioctl"}, {515, "readv"}, {516, "writev"},
	{517, "recvfrom"}, {518, "sendmsg"}, {519, "recvmsg"}, {520, "execve"}, {521, "ptrace"},
	{522, "rt_sigpending"}, {523, "rt_sigtimedwait"}, {524, "rt_sigqueueinfo"},
	{525, "sigaltstack"}, {526, "timer_create"}, {527, "mq_notify"}, {528, "kexec_load"},
	{529, "waitid"}, {530, "set_robust_list"}, {531, "get_robust_list"}, {532, "vmsplice"},
	{533, "move_pages"}, {534, "preadv"}, {535, "pwritev"}, {536, "rt_tgsigqueueinfo"},
	{537, "recvmmsg"}, {538, "sendmmsg"}, {539, "process_vm_readv"}, {540, "process_vm_writev"},
	{541, "setsockopt"}, {542, "getsockopt"}, {543, "io_setup"}, {544, "io_submit"},
	{545, "execveat"}, {546, "preadv2"}, {547, "pwritev2"},
}

// notX32 are the calls that the same table keeps for the 64-bit ABI alone.
var notX32 = []string{
	"uselib", "_sysctl", "create_module", "get_kernel_syms", "query_module", "nfsservctl",
	"set_thread_area", "get_thread_area", "epoll_ctl_old", "epoll_wait_old", "vserver",
	"uretprobe", "uprobe",
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("gen: ")
	files, err := generate()
	if err != nil {
		log.Fatal(err)
	}
	for path, text := range files {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

// generate returns the text of every generated file by its path relative to internal/kernel.
func generate() (map[string][]byte, error) {
	dir, err := goList("{{.Dir}}")
	if err != nil {
		return nil, err
	}
	version, err := goList("{{.Version}}")
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	tables := map[string][]call{}
	for _, s := range sources {
		text, err := os.ReadFile(filepath.Join(dir, "unix", s.file))
		if err != nil {
			return nil, err
		}
		calls, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.file, err)
		}
		if s.table == "arm" {
			calls = append(calls, armPrivate...)
		}
		tables[s.table] = calls
	}
	tables["x32"] = deriveX32(tables["amd64"])
	for name, calls := range tables {
		// The name ends in _table.go, since _amd64.go would be a build constraint.
		files["zsyscalls_"+name+"_table.go"], err = render(version, name, calls)
		if err != nil {
			return nil, err
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "unix", "zerrors_linux_amd64.go"))
	if err != nil {
		return nil, err
	}
	files["../../seccomp/zerrno.go"], err = renderErrnos(version, text)
	return files, err
}

// goList asks the go command about the x/sys module that the main module uses.
func goList(format string) (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", format, "golang.org/x/sys").Output()
	if err != nil {
		return "", fmt.Errorf("go list -m golang.org/x/sys: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

var sysLine = regexp.MustCompile(`(?m)^\tSYS_(\w+)\s*=\s*(\d+)$`)

// parse reads the SYS_ constants of a zsysnum file.
func parse(text []byte) ([]call, error) {
	var calls []call
	seen := map[uint32]string{}
	for _, m := range sysLine.FindAllSubmatch(text, -1) {
		nr, err := strconv.ParseUint(string(m[2]), 10, 32)
		if err != nil {
			return nil, err
		}
		name := strings.ToLower(string(m[1]))
		if slices.Contains(notCalls, name) {
			continue
		}
		if old, ok := seen[uint32(nr)]; ok {
			return nil, fmt.Errorf("number %d is both %s and %s", nr, old, name)
		}
		seen[uint32(nr)] = name
		calls = append(calls, call{uint32(nr), name})
	}
	if len(calls) < 300 {
		return nil, fmt.Errorf("only %d system calls found: has the file a new form?", len(calls))
	}
	return calls, nil
}

// deriveX32 returns the table of the x32 ABI, which shares the common calls of amd64 and marks
// all with bit 30.
func deriveX32(amd64 []call) []call {
	var calls []call
	for _, c := range amd64 {
		own := slices.ContainsFunc(x32Only, func(o call) bool { return o.name == c.name })
		if !own && !slices.Contains(notX32, c.name) {
			calls = append(calls, c)
		}
	}
	calls = append(calls, x32Only...)
	for i := range calls {
		calls[i].nr |= 1 << 30
	}
	return calls
}

// render writes a table sorted by number, and an index of it sorted by name.
func render(version, table string, calls []call) ([]byte, error) {
	slices.SortFunc(calls, func(a, b call) int { return cmp.Compare(a.nr, b.nr) })
	byName := make([]int, len(calls))
	for i := range byName {
		byName[i] = i
	}
	slices.SortFunc(byName, func(a, b int) int { return cmp.Compare(calls[a].name, calls[b].name) })

	var b bytes.Buffer
	fmt.Fprintf(&b, "// Code generated by gen from golang.org/x/sys %s. DO NOT EDIT.\n\n", version)
	fmt.Fprintf(&b, "package kernel\n\n")
	fmt.Fprintf(&b, "// %sCalls is sorted by number.\n", table)
	fmt.Fprintf(&b, "var %sCalls = [...]entry{\n", table)
	for _, c := range calls {
		fmt.Fprintf(&b, "{%#x, %q},\n", c.nr, c.name)
	}
	fmt.Fprintf(&b, "}\n\n// %sByName holds indices of %sCalls, sorted by name.\n", table, table)
	fmt.Fprintf(&b, "var %sByName = [...]uint16{", table)
	for i, n := range byName {
		if i%16 == 0 {
			fmt.Fprintln(&b)
		}
		fmt.Fprintf(&b, "%d, ", n)
	}
	fmt.Fprintf(&b, "\n}\n")
	return format.Source(b.Bytes())
}

var errnoLine = regexp.MustCompile(`(?m)^\t\{(\d+), "(E\w+)", "`)

// renderErrnos writes the names of the error numbers. amd64, 386, arm and arm64 share them
// (asm-generic/errno.h).
func renderErrnos(version string, text []byte) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "// Code generated by internal/kernel/gen from golang.org/x/sys %s. DO NOT EDIT.\n\n", version)
	fmt.Fprintf(&b, "package seccomp\n\n")
	fmt.Fprintf(&b, "// errnoNames is indexed by the error number; holes are empty.\n")
	fmt.Fprintf(&b, "var errnoNames = [...]string{\n")
	lines := errnoLine.FindAllSubmatch(text, -1)
	if len(lines) < 100 {
		return nil, fmt.Errorf("only %d error numbers found: has the file a new form?", len(lines))
	}
	for _, m := range lines {
		fmt.Fprintf(&b, "%s: %q,\n", m[1], m[2])
	}
	fmt.Fprintf(&b, "}\n")
	return format.Source(b.Bytes())
}
