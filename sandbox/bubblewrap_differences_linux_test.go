package sandbox

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ringfence-go/ringfence/testing/victim"
)

// What differs between a sandbox and bubblewrap's.

// bubblewrapDifferences are what may differ, by what is observed and, after a colon, what is observed here and
// there, as regular expressions.
var bubblewrapDifferences = []struct{ what, reason string }{
	{`status Seccomp: 2 \| 0|calls: .*EPERM.* \| .*`, "it has no filter but one that it is given"},
	{`(session|group): 2 \| 1`, "its PID 1 leads the session, and the command is in its group"},
	{`mount ".*/(acpi|asound|interrupts|kcore|keys|latency_stats|sched_debug|scsi|timer_list|timer_stats)": .* \| `, "it masks nothing in /proc"},
	{`mount ".*/(bus|fs|irq|pressure|sys|sysrq-trigger)": proc ro,.* \| `, "it covers what changes the host only where its user could"},
	{`\w+ of ".*/(interrupts|sys/kernel/core_pattern)": .*`, "the same, as the command sees it"},
	{`mount "/dev": .*\| tmpfs nosuid,nodev tags 0;|writing of "/dev": EROFS \| `, "its /dev can be written to"},
	{`mount "/dev/(null|zero|full|random|urandom|tty)": devtmpfs ro,nosuid,noexec tags 0; \| devtmpfs nosuid tags 0;`, "its devices are mounted to be changed and executed too"},
	{`mount "/dev/shm": tmpfs .* \| |mode of "/dev/shm": 41777 \| 40755`, "its /dev/shm is a directory of /dev, the user's alone"},
	{`names of "/dev": .* \| .*\bcore\b.*`, "it has a link /dev/core"},
	{`mount ".*": .*mqueue nosuid,nodev,noexec tags 0;.* \| .*mqueue  tags 0;.*`, "its mqueue has no flags"},
	{`mount ".*/(shm|pts)": (\w+ \S*nosuid,nodev tags 0;)+ \| (tmpfs|devpts)  tags 0;.*`, "below a source it restricts what is on top, and not what that covers"},
	{`size of ".*": \d+ \| \d{10,}`, "it bounds no file system in memory unless told to, and its files' never"},
	{`mode of ".*": 40755 \| 40700`, "the directories that it makes on the way to a target are the user's alone"},
	{`\w+ of "/etc/(passwd|hostname)": .*|names of "/etc": .*|mount "/etc/resolv.conf": .* \| `, "it makes no /etc"},
	{`[ug]id_map: \d+ \d+ 1 \| \d+ 0 1`, "it makes two user namespaces, and in the outer one its user is root"},
	{`PWD:  \| .*`, "it sets PWD"},
	{`RLIMIT_CORE: \[0 0\] \| .*`, "it leaves all resource limits alone"},
	{`descriptor \d+:  \| .*|status SigIgn: 0{16} \| [0-9a-f]{16}`, "it passes on what it inherits"},
	{`descriptor [012]: 20000 259 access 2 \| 20000 259 access [01]`, "os/exec, which starts it here, opens the null device one way"},
}

// facts tells an observation as one fact a line, with what cannot be compared left out.
func (p *property) facts(o *victim.Observation) map[string]string {
	var env []string
	pwd := ""
	for _, e := range sorted(o.Env) {
		if value, ok := strings.CutPrefix(e, "PWD="); ok {
			pwd = value
		} else {
			env = append(env, e)
		}
	}
	f := map[string]string{
		"Args": fmt.Sprintf("%q", o.Args), "Env": fmt.Sprintf("%q", env), "PWD": pwd, "Dir": o.Dir, "Hostname": o.Hostname,
		"uid_map": o.UIDMap, "gid_map": o.GIDMap, "setgroups": o.Setgroups,
		"PID": fmt.Sprint(o.PID), "parent": fmt.Sprint(o.PPID), "session": fmt.Sprint(o.SID), "group": fmt.Sprint(o.PGID), "PIDs": fmt.Sprint(o.PIDs),
		"standard input": o.Stdin, "terminal": fmt.Sprint(o.Terminal), "soft RLIMIT_NOFILE": o.NofileSoft,
		"interfaces": fmt.Sprint(o.Interfaces), "calls": fmt.Sprint(o.Calls),
	}
	for _, key := range []string{"Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Umask", "SigIgn", "SigBlk"} {
		f["status "+key] = o.Status[key]
	}
	for name, resource := range rlimitResources {
		f[name] = fmt.Sprint(o.Limits[resource])
	}
	for kind, ns := range o.Namespaces {
		f["namespace "+kind] = map[bool]string{false: "new", true: "the host's"}[ns == p.world.host.Namespaces[kind]]
	}
	for fd, v := range o.FDs {
		f[fmt.Sprintf("descriptor %d", fd)] = fmt.Sprintf("%o %d access %d", v.Type, v.Rdev, v.Access)
	}
	at := map[string][]string{}
	for _, m := range o.Mounts {
		at[m.Point] = append(at[m.Point], fmt.Sprintf("%s %s tags %d;", m.Type, flags(m.Options, "ro", "nosuid", "nodev", "noexec"), len(m.Tags)))
	}
	for point, all := range at {
		f[fmt.Sprintf("mount %q", point)] = strings.Join(sorted(all), "")
	}
	for name, v := range o.Paths {
		for what, value := range map[string]any{
			"error": v.Err, "mode": fmt.Sprintf("%o", v.Mode), "owner": fmt.Sprint(v.UID, ":", v.GID), "link": v.Link, "names": sorted(v.Names),
			"data": v.Data[:min(len(v.Data), 40)], "reading": v.ReadErr, "writing": v.WriteErr, "execution": v.ExecErr, "size": v.Size,
		} {
			f[fmt.Sprintf("%s of %q", what, name)] = fmt.Sprint(value)
		}
	}
	return f
}

// differ reports differences that are not known.
func differ(t *testing.T, ours, theirs map[string]string) {
	t.Helper()
	both := maps.Clone(ours)
	maps.Copy(both, theirs)
	for _, what := range slices.Sorted(maps.Keys(both)) {
		if ours[what] == theirs[what] {
			continue
		}
		line := fmt.Sprintf("%s: %s | %s", what, ours[what], theirs[what])
		if !slices.ContainsFunc(bubblewrapDifferences, func(d struct{ what, reason string }) bool {
			return regexp.MustCompile("(?s)^(" + d.what + ")$").MatchString(line)
		}) {
			t.Errorf("a difference that nobody knows: %s", strings.ReplaceAll(line, "\n", "\\n"))
		}
	}
}
