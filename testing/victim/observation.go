package victim

import "encoding/json"

// Request says what the act "observe" looks at beyond what every process has. It is the act's argument, as
// JSON.
type Request struct {
	To    int      // the descriptor that the Observation is written to, as a line of JSON
	Stdin bool     // read standard input to its end
	Paths []string // looked at, read, and tried to be written to
}

// Observation is what a process sees of itself and around it.
type Observation struct {
	Args, Env []string // Env as it was executed with
	Dir       string
	Hostname  string

	Status               map[string]string // of /proc/thread-self/status
	UIDMap, GIDMap       string
	Setgroups            string
	Namespaces           map[string]string
	PID, PPID, SID, PGID int
	PIDs                 []int // in /proc

	FDs      map[int]FD
	Stdin    string
	Terminal Screen

	Limits     [][2]uint64       // by number
	NofileSoft string            // before the Go runtime raised it; "" if there is no cat(1) that could tell
	Interfaces map[string]string // flags
	Mounts     []MountPoint
	Paths      map[string]Place
	Calls      map[string]string // the errno of a few system calls
}

// FD is an open descriptor.
type FD struct {
	Type           uint32 // S_IFMT of its mode
	Dev, Ino, Rdev uint64
	Access         int // O_ACCMODE
	CloseOnExec    bool
}

// Screen is the controlling terminal.
type Screen struct {
	Err        string // of opening /dev/tty
	Rows, Cols uint16 // of standard input
	SID, PGID  int    // whose it is, and in whose foreground
}

// MountPoint is a line of proc_pid_mountinfo(5).
type MountPoint struct {
	ID, Parent        string
	Point, Root, Type string
	Options           []string // of the mount
	Tags              []string // propagation
	Super             string   // options of the file system
}

// Place is what is at a path.
type Place struct {
	Err      string // of lstat(2); what follows is zero then
	Mode     uint32
	UID, GID uint32
	Link     string   // where a symbolic link leads to
	Names    []string // in a directory
	Data     string   // in a file, the beginning
	ReadErr  string   // of a file or directory
	WriteErr string   // of opening a file to write, or of making a file in a directory
	ExecErr  string   // of access(2) for execution of a file
	Size     int64    // of its file system, in bytes
}

// String returns the request as the act takes it.
func (r Request) String() string {
	arg, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers can always be encoded
	}
	return string(arg)
}
