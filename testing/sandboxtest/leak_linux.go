package sandboxtest

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// startPoller makes the runtime open its epoll instance, which it does at the first use of a pipe or
// a socket and keeps for good: it must not look like a leak of the test that came first.
var startPoller = sync.OnceFunc(func() {
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
})

// osThings returns open descriptors, child processes and mounts.
func osThings() map[string]string {
	startPoller()
	all := map[string]string{}
	addDescriptors(all)
	addChildren(all)
	addMounts(all)
	return all
}

func addDescriptors(all map[string]string) {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		// The descriptor that read the directory is closed by now.
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			all["descriptor "+e.Name()] = target
		}
	}
}

// addChildren adds the processes whose parent is a thread of this one, zombies too.
// proc_pid_task_tid_children(5); the file needs CONFIG_PROC_CHILDREN, which distributions set.
func addChildren(all map[string]string) {
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		data, _ := os.ReadFile(list)
		for _, pid := range strings.Fields(string(data)) {
			stat, _ := os.ReadFile("/proc/" + pid + "/stat")
			all["child process "+pid] = strings.TrimSpace(string(stat))
		}
	}
}

func addMounts(all map[string]string) {
	data, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(data)) {
		// proc_pid_mountinfo(5): the number is used again once the mount is gone, so that the place
		// is part of the name.
		if f := strings.Fields(line); len(f) > 4 {
			all["mount "+f[0]+" on "+f[4]] = strings.TrimSpace(line)
		}
	}
}
