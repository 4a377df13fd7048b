package cgroup

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// helperEnv makes the test binary one of the programs below: a minimal machine has no others.
const helperEnv = "CGROUP_TEST_HELPER"

var programs = map[string]func(args []string){
	// wait ends with its input.
	"wait": func([]string) { _, _ = io.Copy(io.Discard, os.Stdin) },
	// memory uses some MiB and waits.
	"memory": func(args []string) {
		n, _ := strconv.Atoi(args[0])
		b, err := unix.Mmap(-1, 0, n<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			os.Exit(3)
		}
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		fmt.Println("used")
		_, _ = io.Copy(io.Discard, os.Stdin)
	},
	// spin keeps so many processors busy.
	"spin": func(args []string) {
		n, _ := strconv.Atoi(args[0])
		for range n {
			go func() {
				for n := 0; ; n++ {
					runtime.KeepAlive(n)
				}
			}()
		}
		fmt.Println("spinning")
		_, _ = io.Copy(io.Discard, os.Stdin)
	},
	// fork starts itself until it may not, says how often that was, and waits.
	"fork": func([]string) {
		var n int
		for ; n < 10000; n++ {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = []string{helperEnv + "=wait"}
			if _, err := cmd.StdinPipe(); err != nil {
				break
			}
			if cmd.Start() != nil {
				break
			}
		}
		fmt.Println("forked", n)
		_, _ = io.Copy(io.Discard, os.Stdin)
	},
	// write writes so many KiB past the page cache.
	"write": func(args []string) {
		n, _ := strconv.Atoi(args[1])
		fd, err := unix.Open(args[0], unix.O_WRONLY|unix.O_CREAT|unix.O_DIRECT, 0o600)
		if err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
		block, err := unix.Mmap(-1, 0, 64<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			os.Exit(3)
		}
		began := time.Now()
		for done := 0; done < n<<10; done += len(block) {
			if _, err := unix.Write(fd, block); err != nil {
				fmt.Println(err)
				os.Exit(3)
			}
		}
		fmt.Println("wrote", time.Since(began))
	},
	// enter moves itself by the file that is its standard output.
	"enter": func([]string) {
		if _, err := os.Stdout.WriteString("0"); err != nil {
			os.Exit(3)
		}
	},
	// container becomes the root of a cgroup namespace, as the first process of a container is, and
	// then contained, which finds its way from there.
	"container": func([]string) {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWCGROUP)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		for _, fstype := range []string{"tmpfs", "cgroup2"} { // which cannot lie on another of its kind
			if err == nil {
				err = unix.Mount("none", "/sys/fs/cgroup", fstype, 0, "")
			}
		}
		if err == nil {
			err = syscall.Exec("/proc/self/exe", []string{"contained"}, []string{helperEnv + "=contained"})
		}
		fmt.Println(err)
		os.Exit(3)
	},
	"contained": func([]string) {
		tree, err := Find(context.Background(), Options{Need: []Controller{Memory, Pids}, Move: true})
		if err == nil {
			_, err = tree.New(context.Background(), Limits{PidsMax: 5})
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
		fmt.Printf("%v %s %v\n", tree.Way(), tree.Path(), tree.Entry())
		_, _ = io.Copy(io.Discard, os.Stdin)
	},
	// unit gets a subtree from the user's systemd, names it, and waits to be killed.
	"unit": func([]string) {
		ctx := context.Background()
		f := &finder{host: thisHost(ctx), wants: wants{need: []Controller{Pids}}}
		var tree *Tree
		var err error
		if f.place, err = locate(f.host); err == nil {
			tree, err = f.managed(ctx, UserManager)
		}
		if err == nil {
			_, err = tree.New(ctx, Limits{PidsMax: 5})
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
		fmt.Println(tree.Path())
		_, _ = io.Copy(io.Discard, os.Stdin)
	},
	// cycle makes, fills, reads and removes so many cgroups, one after the other.
	"cycle": func(args []string) {
		n, _ := strconv.Atoi(args[1])
		ctx := context.Background()
		over, end := context.WithCancel(ctx)
		end()
		tree, err := Find(ctx, Options{Path: args[0], Need: []Controller{Memory, Pids, CPU, IO}})
		for range n {
			var leaf *Leaf
			if err == nil {
				leaf, err = tree.New(ctx, Limits{MemoryMax: mib, PidsMax: 6, CPUMax: 1})
			}
			if err == nil {
				err = leaf.Update(Limits{MemoryMax: mib, PidsMax: 5, CPUMax: 1})
			}
			if err == nil {
				leaf.SamplePeaks(over)
				_, err = leaf.Used()
			}
			if err == nil {
				err = leaf.Remove(ctx)
			}
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
	},
	// caller makes a cgroup with a process in it, names both, and waits to be killed.
	"caller": func(args []string) {
		tree, err := Find(context.Background(), Options{Path: args[0], Need: []Controller{Pids}})
		if err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
		leaf, err := tree.New(context.Background(), Limits{PidsMax: 5})
		if err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{helperEnv + "=wait"}
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: leaf.fd(), Setsid: true}
		if _, err := cmd.StdinPipe(); err != nil {
			os.Exit(3)
		}
		if err := cmd.Start(); err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
		fmt.Println("made", leaf.Path(), cmd.Process.Pid)
		_, _ = io.Copy(io.Discard, os.Stdin)
	},
}

func TestMain(m *testing.M) {
	if words := strings.Fields(os.Getenv(helperEnv)); len(words) > 0 {
		_ = os.Unsetenv(helperEnv)
		if gate := os.NewFile(3, "gate"); gate != nil { // closed when the way in is free
			_, _ = io.Copy(io.Discard, gate)
		}
		programs[words[0]](words[1:])
		os.Exit(0)
	}
	sandboxtest.Main(m)
}

// findTree finds a subtree, in whatever way the machine has, and closes it after the test.
func findTree(t testing.TB, need ...Controller) *Tree {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.UnifiedCgroups())
	if sandboxtest.UserManager().Check() != nil {
		sandboxtest.Need(t, sandboxtest.CgroupV2())
	}
	tree, err := Find(t.Context(), Options{Need: need, Move: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Stale(); err != nil {
		t.Error(err)
	}
	t.Cleanup(func() {
		if err := tree.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return tree
}

func newLeaf(t testing.TB, tree *Tree, limits Limits) *Leaf {
	t.Helper()
	leaf, err := tree.New(t.Context(), limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := leaf.Remove(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return leaf
}

// fd is the descriptor of a leaf that nobody removes meanwhile; -1 of one that was.
func (l *Leaf) fd() int {
	if l.dir == nil {
		return -1
	}
	return l.dir.fd()
}

// program is one of the programs, in a cgroup.
type program struct {
	*exec.Cmd
	stdin io.Closer
	out   *os.File
}

// start runs a program in a leaf, by the way into its tree, before it does anything.
func start(t testing.TB, leaf *Leaf, words string) *program {
	t.Helper()
	return startWith(t, leaf, words, syscall.SysProcAttr{})
}

func startWith(t testing.TB, leaf *Leaf, words string, how syscall.SysProcAttr) *program {
	t.Helper()
	p := &program{Cmd: exec.Command("/proc/self/exe")}
	p.Env = []string{helperEnv + "=" + words}
	in, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	gate, open, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin, p.out, p.Stdout, p.Stderr, p.ExtraFiles = in, r, w, os.Stderr, []*os.File{gate}
	byClone := leaf.tree.Entry() == EnterByClone
	how.UseCgroupFD, how.CgroupFD, how.Pdeathsig = byClone, leaf.fd(), syscall.SIGKILL
	p.SysProcAttr = &how
	runtime.LockOSThread() // Pdeathsig follows the thread
	t.Cleanup(runtime.UnlockOSThread)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	gate.Close()
	t.Cleanup(func() { r.Close(); in.Close(); p.end() })
	if !byClone {
		if err := leaf.Enter(t.Context(), p.Process.Pid); err != nil {
			t.Fatal(err)
		}
	}
	open.Close()
	return p
}

// end kills the program, and returns how it ended.
func (p *program) end() syscall.WaitStatus {
	if p.ProcessState == nil {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
	return p.ProcessState.Sys().(syscall.WaitStatus)
}

// says returns a line of what the program printed.
func (p *program) says(t testing.TB) string {
	t.Helper()
	var line []byte
	var b [1]byte
	for {
		if _, err := p.out.Read(b[:]); err != nil {
			t.Fatalf("%q, then %v", line, err)
		}
		if b[0] == '\n' {
			return string(line)
		}
		line = append(line, b[0])
	}
}

// leaves returns the cgroups of sandboxes in a tree.
func leaves(t testing.TB, tree *Tree) []string {
	t.Helper()
	all, err := filepath.Glob(tree.Path() + "/" + leafPrefix + "[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	return all
}
