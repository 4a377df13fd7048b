package seccomp

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// An OCIHost is what a Docker profile can ask about where it is applied.
type OCIHost struct {
	Arch         string   // a GOARCH; must be set
	Capabilities []string // of the sandbox, "CAP_SYS_ADMIN"; nil: none
	Kernel       string   // release, "6.1" or "6.1.0-13-amd64"; must be set if the profile asks
}

// A Profile is a policy with what else an OCI or Docker profile says.
type Profile struct {
	Policy *Policy
	Archs  []string // to compile for, as Policy.Compile takes them; the host's first

	// The rest is for whoever loads the filter; see the OCI runtime specification.
	Flags            []string // SECCOMP_FILTER_FLAG_*
	ListenerPath     string
	ListenerMetadata string
}

// ReadOCI reads a profile in the JSON form of the OCI runtime specification (linux.seccomp) or of
// Docker, which adds archMap, includes and excludes. Rules that are not for the host are left out.
//
// It gives the profile the meaning that runc with libseccomp gives it:
//
//   - a rule whose action is the default action is left out
//   - a rule without conditions wins over all rules with conditions on the same call, and the last
//     of several wins
//   - SCMP_ACT_ERRNO and SCMP_ACT_TRACE without errnoRet mean EPERM
//   - calls that are not known here are ignored
//   - architectures that are listed and have no table here are left out: they get BadArch, and the
//     host cannot run them anyway
//
// Two things differ, to the safe side: foreign ABIs kill the process, not the thread, and a call
// that is newer than the tables gets ENOSYS. Where runc's meaning depends on the order in which
// libseccomp builds its tree (overlapping conditions with different actions), or is not what the text
// says (two conditions on one argument), the profile is an error.
//
// The errors are [*PolicyError], joined, whose Field is the path in the document.
func ReadOCI(data []byte, host OCIHost) (*Profile, error) {
	if !json.Valid(data) {
		var ignored any
		return nil, &PolicyError{Field: "profile", Reason: "not JSON: " + json.Unmarshal(data, &ignored).Error()}
	}
	var f faults
	r := ociReader{host: host, f: &f}
	if _, ok := scmpArchs[host.Arch]; !ok {
		f.add("OCIHost.Arch", "%q: want one of %s", host.Arch, strings.Join(slices.Sorted(maps.Keys(scmpArchs)), ", "))
		return nil, errors.Join(f...)
	}
	r.document(value{raw: slices.Clone(data), f: &f})
	if len(f) > 0 {
		return nil, errors.Join(f...)
	}
	return r.profile()
}

// scmpArchs maps the names of ABIs with a table to those of libseccomp.
var scmpArchs = map[string]string{
	"amd64": "SCMP_ARCH_X86_64",
	"386":   "SCMP_ARCH_X86",
	"x32":   "SCMP_ARCH_X32",
	"arm64": "SCMP_ARCH_AARCH64",
	"arm":   "SCMP_ARCH_ARM",
}

// otherSCMPArchs are the architectures that profiles list and that have no table here.
var otherSCMPArchs = []string{
	"SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL",
	"SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC", "SCMP_ARCH_PPC64",
	"SCMP_ARCH_PPC64LE", "SCMP_ARCH_S390", "SCMP_ARCH_S390X", "SCMP_ARCH_PARISC",
	"SCMP_ARCH_PARISC64", "SCMP_ARCH_RISCV64", "SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K",
	"SCMP_ARCH_SH", "SCMP_ARCH_SHEB",
}

// profileArchs are the names that includes and excludes have for the ABIs with a table, where they
// differ from GOARCH.
var profileArchs = map[string]string{"386": "x86"}

// scmpActions maps the names of actions to actions; those of Errno and Trace need a number.
var scmpActions = map[string]Action{
	"SCMP_ACT_KILL":         KillThread, // libseccomp's old name
	"SCMP_ACT_KILL_THREAD":  KillThread,
	"SCMP_ACT_KILL_PROCESS": KillProcess,
	"SCMP_ACT_TRAP":         Trap,
	"SCMP_ACT_ERRNO":        kindErrno << 16,
	"SCMP_ACT_TRACE":        kindTrace << 16,
	"SCMP_ACT_LOG":          Log,
	"SCMP_ACT_NOTIFY":       Notify,
	"SCMP_ACT_ALLOW":        Allow,
}

var scmpOps = map[string]Op{
	"SCMP_CMP_NE": NotEqual, "SCMP_CMP_LT": Less, "SCMP_CMP_LE": LessEqual, "SCMP_CMP_EQ": Equal,
	"SCMP_CMP_GE": GreaterEqual, "SCMP_CMP_GT": Greater, "SCMP_CMP_MASKED_EQ": maskedEqual,
}

// maskedEqual is an Op of the format only.
const maskedEqual Op = 100

// An ociReader reads a document into what an OCI profile says, before it is made a policy.
type ociReader struct {
	host    OCIHost
	f       *faults
	out     Profile
	deflt   Action
	rules   []ociRule
	listed  []string // architectures
	mapped  []string // of the archMap entry for the host
	hasList bool
	hasMap  bool
}

type ociRule struct {
	Rule
	path string
}

func (r *ociReader) document(doc value) {
	var deflt scmpAction
	doc.object(func(name string, v value) bool {
		switch name {
		case "defaultAction":
			deflt.name, deflt.at = v.text(), v
		case "defaultErrnoRet", "defaultErrno":
			if name == "defaultErrnoRet" {
				deflt.data, deflt.hasData = v.number(0xffff), !v.isNull()
			} else {
				v.text() // podman repeats the number as a name
			}
		case "architectures":
			r.listed, r.hasList = r.archs(v), !v.isNull()
		case "archMap":
			r.hasMap = !v.isNull()
			v.array(r.archMap)
		case "flags":
			r.out.Flags = v.texts()
		case "listenerPath":
			r.out.ListenerPath = v.text()
		case "listenerMetadata":
			r.out.ListenerMetadata = v.text()
		case "syscalls":
			v.array(r.rule)
		default:
			return false
		}
		return true
	})
	if deflt.name == "" {
		r.f.add("defaultAction", "is missing")
	} else {
		r.deflt = deflt.action()
	}
	if r.hasList && r.hasMap && len(r.listed) > 0 {
		r.f.add("archMap", "is given beside architectures: want one of them")
	}
}

// archs reads a list of architectures and returns those that have tables here.
func (r *ociReader) archs(v value) []string {
	var all []string
	v.array(func(e value) {
		if arch := r.arch(e); arch != "" && !slices.Contains(all, arch) {
			all = append(all, arch)
		}
	})
	return all
}

func (r *ociReader) arch(v value) string {
	name := v.text()
	for arch, scmp := range scmpArchs {
		if scmp == name {
			return arch
		}
	}
	if !slices.Contains(otherSCMPArchs, name) {
		v.fault("%q is not an architecture: want SCMP_ARCH_X86_64 or the like", brief(name))
	}
	return ""
}

func (r *ociReader) archMap(v value) {
	var arch string
	var sub []string
	v.object(func(name string, m value) bool {
		switch name {
		case "architecture":
			arch = r.arch(m)
		case "subArchitectures":
			sub = r.archs(m)
		default:
			return false
		}
		return true
	})
	if arch == r.host.Arch {
		r.mapped = sub
	}
}

// rule reads one element of syscalls.
func (r *ociReader) rule(v value) {
	rule := ociRule{path: v.path[1:], Rule: Rule{Optional: true}}
	var action scmpAction
	var single string
	wanted := true
	v.object(func(name string, m value) bool {
		switch name {
		case "names":
			m.array(func(e value) {
				call := e.text()
				if call != "" && !spelled(call) {
					e.fault("%s", unknownName(call))
				}
				rule.Names = append(rule.Names, call)
			})
		case "name":
			single = m.text()
		case "action":
			action.name, action.at = m.text(), m
		case "errnoRet":
			action.data, action.hasData = m.number(0xffff), !m.isNull()
		case "errno", "comment":
			m.text()
		case "args":
			m.array(func(e value) { rule.Args = append(rule.Args, r.arg(e)) })
		case "includes":
			wanted = r.meets(m, true) && wanted
		case "excludes":
			wanted = r.meets(m, false) && wanted
		default:
			return false
		}
		return true
	})
	if single != "" {
		if len(rule.Names) > 0 {
			v.fault("has both name and names: want one of them")
		}
		rule.Names = []string{single}
	}
	if len(rule.Names) == 0 || slices.Contains(rule.Names, "") {
		v.fault("names no call, or an empty one")
	}
	if action.at.f == nil {
		v.fault("has no action")
		return
	}
	rule.Action = action.action()
	var seen [6]bool
	for _, arg := range rule.Args {
		if seen[arg.Index] {
			v.fault("has two conditions on argument %d, which runc takes as alternatives: write two rules", arg.Index)
			break
		}
		seen[arg.Index] = true
	}
	if wanted {
		r.rules = append(r.rules, rule)
	}
}

func (r *ociReader) arg(v value) Arg {
	var a Arg
	var two uint64
	v.object(func(name string, m value) bool {
		switch name {
		case "index":
			a.Index = int(m.number(5))
		case "value":
			a.Value = m.number(^uint64(0))
		case "valueTwo":
			two = m.number(^uint64(0))
		case "op":
			op, ok := scmpOps[m.text()]
			if !ok {
				m.fault("%s is not a comparison: want SCMP_CMP_EQ or the like", m.kind())
			}
			a.Op = op
		default:
			return false
		}
		return true
	})
	switch {
	case a.Op == 0:
		v.fault("has no op")
	case a.Op == maskedEqual && a.Value == 0:
		v.fault("value is the mask of SCMP_CMP_MASKED_EQ and must not be 0")
	case a.Op == maskedEqual:
		// libseccomp drops bits of the value that the mask does not have.
		a = Arg{Index: a.Index, Op: Equal, Mask: a.Value, Value: two & a.Value}
	}
	return a
}

// meets evaluates includes (want) or excludes (!want) for the host. Every condition of includes must
// hold; none of excludes may.
func (r *ociReader) meets(v value, want bool) bool {
	ok := true
	v.object(func(name string, m value) bool {
		switch name {
		case "caps":
			for _, c := range m.texts() {
				ok = ok && slices.Contains(r.host.Capabilities, c) == want
			}
		case "arches":
			own := r.host.Arch
			if profileArchs[own] != "" {
				own = profileArchs[own]
			}
			if all := m.texts(); len(all) > 0 {
				ok = ok && slices.Contains(all, own) == want
			}
		case "minKernel":
			if s := m.text(); s != "" {
				ok = ok && r.kernelAtLeast(m, s) == want
			}
		default:
			return false
		}
		return true
	})
	return ok
}

func (r *ociReader) kernelAtLeast(v value, minimum string) bool {
	major, minor, ok := kernelVersion(minimum)
	if !ok || strings.Count(minimum, ".") != 1 {
		v.fault("%q is not a version: want \"4.8\" or the like", brief(minimum))
		return false
	}
	hostMajor, hostMinor, ok := kernelVersion(r.host.Kernel)
	if !ok {
		v.fault("the rule depends on the kernel, and OCIHost.Kernel is %q: want a release, as of uname(2)", brief(r.host.Kernel))
		return false
	}
	return hostMajor > major || hostMajor == major && hostMinor >= minor
}

// kernelVersion reads the first two numbers of a release: "6.1.0-13-amd64" is 6, 1.
func kernelVersion(release string) (major, minor uint64, ok bool) {
	first, rest, _ := strings.Cut(release, ".")
	end := strings.IndexFunc(rest, func(c rune) bool { return c < '0' || c > '9' })
	if end < 0 {
		end = len(rest)
	}
	major, err1 := strconv.ParseUint(first, 10, 16)
	minor, err2 := strconv.ParseUint(rest[:end], 10, 16)
	return major, minor, err1 == nil && err2 == nil
}

// An scmpAction is an action as a profile writes it.
type scmpAction struct {
	name    string
	at      value
	data    uint64
	hasData bool
}

func (s *scmpAction) action() Action {
	a, ok := scmpActions[s.name]
	if !ok {
		s.at.fault("%q is not an action: want SCMP_ACT_ALLOW or the like", brief(s.name))
		return Allow // whatever: the profile is refused
	}
	takes := a.kind() == kindErrno || a.kind() == kindTrace
	switch {
	case !takes && s.hasData:
		s.at.fault("%s takes no error number", s.name)
	case takes && !s.hasData:
		s.data = ePERM
	}
	if !takes {
		return a
	}
	a = withData(a.kind(), int64(s.data))
	if fault := a.check(); fault != "" {
		s.at.fault("%s", fault)
	}
	return a
}

// String makes a rule of a profile known in errors.
func (r *ociRule) String() string { return fmt.Sprintf("%s (%s)", r.path, r.Action) }
