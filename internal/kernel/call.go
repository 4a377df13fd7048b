package kernel

// Call is one system call with prepared arguments: a value, not an action.
type Call struct {
	Name string // as in the kernel's table, without a prefix: "openat2"
	Args []Arg  // at most six

	// Path is the path that the call looks up, and Base the descriptor that the look-up starts
	// from (AT_FDCWD for the working directory). Calls that look nothing up leave Path empty.
	Path string
	Base int
	// Resolve holds the RESOLVE_* flags of openat2(2).
	Resolve uint64
}

// Arg is one argument of a system call: a number, or the memory that it points to.
type Arg struct {
	Value  int64
	Mem    *Memory // not nil: the argument is an address in this memory,
	Offset int     // so many bytes from its start

	// How strace(1) prints it: a fixed Text, or what Show reads out of the argument, or else the
	// number. Nothing is formatted before it is asked for: most programs run and are never printed.
	Text string
	Show func(Arg) string
}

// Memory is a piece of the program's data segment. Two arguments that name the same Memory name
// the same address, which is how one call reads what another wrote.
type Memory struct {
	Text  string // not empty: the contents are this, with a NUL behind it, and Bytes is empty
	Bytes []byte // the contents at the start; the kernel may write to them
	Refs  []Ref  // the pointers among them
	// Low puts it at an address that programs are not given by the kernel. It holds no pointers, and nobody
	// writes to it.
	Low bool
}

// Ref is a pointer at Offset in a Memory.
type Ref struct {
	Offset   int
	To       *Memory // nil: the address of the interpreter's signal handler
	ToOffset int     // so many bytes from the start of To
}

// Zeroed returns size bytes of memory that the kernel or a later call fills in.
func Zeroed(size int) *Memory { return &Memory{Bytes: make([]byte, size)} }
