package launch

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/plan"
)

// Process is a program whose command was started.
type Process struct {
	Started time.Time // when the command was executed

	report   *report
	early    *plan.Record // the end, if it was told before all of the start was
	lifeline *os.File
	extra    []*os.File // what the program sent along with the start
	listener *Listener  // of the command's filter; nil is none
	waiting  *start     // until Tell
	ready    bool       // to be told
	inbox    *os.File   // by which it is; nil is none
	keeps    bool       // the program has no command
	group    bool       // the program has no PID namespace: see group_linux.go
	far      *os.File   // with group: the program's end of the lifeline
	joins    bool       // the program is a joiner's: where PID 1 is spoken of below, that is meant

	mu      sync.Mutex  // guards what follows against use after Close
	pid     int         // of PID 1, as this program sees it; 0 is not known. It keeps its number until it is reaped
	init    int         // pidfd of PID 1; -1 is none
	command int         // pidfd of PID 2; -1 is none, or not asked for yet
	stub    int         // with group: the process ID of the stub, and its group's
	leader  int         // with group: the process ID of the command, and its group's; 0 is not known
	last    *time.Timer // with group: kills the reaper in the end; nil before Kill
	gone    bool        // PID 1 was reaped, or is about to be: its number may be another's
}

// Exit is how a program ended.
type Exit struct {
	// Reported says that init saw the command end; Status is then the command's own. If not, init was
	// killed first, and everything in the sandbox with it.
	Reported bool
	Status   unix.WaitStatus
	// Init is the wait status of init; 0 if somebody else in this program reaped it. Of a program without a PID
	// namespace whose guard was killed it is that of one that was killed.
	Init unix.WaitStatus
	// Usage is of all processes of the sandbox; if somebody else in this program reaped init, of the
	// command and those that it waited for. Not Counted, it is not known: init was killed before.
	Usage   unix.Rusage
	Counted bool
	Ended   time.Time
	// Refused is the call for which the sandbox was ended; nil if it was not.
	Refused *plan.Refusal
}

// take notes what init reported of the end.
func (e *Exit) take(r *plan.Record) {
	e.Reported, e.Status, e.Usage, e.Refused, e.Ended = true, r.Status, r.Usage, r.Call, time.Now()
}

// ErrEnded says that there is no process left to signal.
var ErrEnded = os.ErrProcessDone

// Wait reads the end of the command and waits for the end of everything in the sandbox. It must be called
// once, and Close after it.
func (p *Process) Wait() (Exit, error) {
	exit := p.reported(false)
	return p.bury(exit)
}

// WaitReported is Wait, but returns when the end was reported. Whether PID 1 is yet to be waited for, by Bury, is
// the second result. What was used is then as PID 1 has summed it up.
func (p *Process) WaitReported() (exit Exit, lingers bool, err error) {
	if exit = p.reported(true); exit.Reported {
		exit.Counted = true
		return exit, true, nil
	}
	exit, err = p.bury(exit)
	return exit, false, err
}

// Bury waits for the end of a PID 1 that lingers, and releases everything that Close does.
func (p *Process) Bury() {
	_, _ = p.bury(Exit{}) // all was told
	p.Close()
}

// reported reads the end of the command, and of the report if it is not to be brief.
func (p *Process) reported(brief bool) Exit {
	var exit Exit
	if p.early != nil {
		exit.take(p.early)
	}
	for !(brief && exit.Reported) {
		record, fds, err := p.report.read()
		if err != nil {
			break // the end of file, or of what can be read: the wait status decides
		}
		closeAll(fds)
		if record.Kind == plan.Ended {
			exit.take(&record)
		}
	}
	return exit
}

// bury waits for PID 1, and completes what it has reported.
func (p *Process) bury(exit Exit) (Exit, error) {
	status, usage, err := p.reap()
	p.cut()
	p.reapGroup(status)
	if p.joins && !exit.Reported {
		p.reapCommand()
	}
	if exit.Ended.IsZero() {
		exit.Ended = time.Now()
	}
	if errors.Is(err, unix.ECHILD) {
		// Somebody in this program waits for every child, or ignores SIGCHLD: what init reported stands.
		exit.Counted = exit.Reported
		if p.group && !exit.Reported {
			exit.Init = killedGuard // or the reaper was
		}
		return exit, nil
	}
	exit.Init, exit.Usage, exit.Counted = status, usage, exit.Reported
	if p.group {
		exit.Counted = status.Exited() // the guard reports before the reaper has counted all
		if !exit.Reported && exit.Counted {
			exit.Init = killedGuard
		}
	}
	return exit, err
}

// Kill ends every process of the sandbox at once; of a joiner's program the command and the joiner.
func (p *Process) Kill() error {
	p.cut()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.group {
		return p.killGroup()
	}
	if p.joins && p.findCommand() == nil {
		_ = send(p.command, unix.SIGKILL) // it may have ended
	}
	return send(p.init, unix.SIGKILL)
}

// joinerPatience is how long a joiner may take to reap its command, when that was killed.
const joinerPatience = time.Second

// endJoin ends a joiner's program that may be anywhere in its start. The joiner is left to reap the command, which
// somebody inside may have stopped, and ends then by itself; only if it does not it is killed.
func (p *Process) endJoin() {
	for until := time.Now().Add(joinerPatience); time.Now().Before(until); {
		p.mu.Lock()
		ended := p.init < 0 || p.gone || awaitEnd(p.init, 0)
		if !ended && p.findCommand() == nil {
			_ = send(p.command, unix.SIGKILL) // it may have ended
		}
		p.mu.Unlock()
		if ended || p.AwaitEnd(10*time.Millisecond) {
			return
		}
	}
	_ = p.Kill() // it may have ended by itself
}

// AwaitEnd waits until PID 1 has ended, but not longer than patience, and reports whether it has.
func (p *Process) AwaitEnd(patience time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.init < 0 || awaitEnd(p.init, patience)
}

// TakeExtra is Extra from the n-th on: they are the caller's to close.
func (p *Process) TakeExtra(n int) []*os.File {
	taken := p.extra[n:]
	p.extra = p.extra[:n]
	return taken
}

// Extra returns the files that the program sent along with the start. They are p's, and closed by Close.
func (p *Process) Extra() []*os.File { return p.extra }

// Listener returns the listener of the command's filter, if Config asked for it. It is p's, and closed by
// Close.
func (p *Process) Listener() *Listener { return p.listener }

func send(pidfd int, sig unix.Signal) error {
	if pidfd < 0 {
		return ErrEnded
	}
	err := unix.PidfdSendSignal(pidfd, sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return ErrEnded
	}
	return os.NewSyscallError("pidfd_send_signal", err)
}

// knowsInit reports whether it was told that PID 1 exists.
func (p *Process) knowsInit() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid != 0
}

// watch takes the pidfd of the command over, in the place of one that was looked for.
func (p *Process) watch(pidfd int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.command >= 0 {
		unix.Close(p.command)
	}
	p.command = pidfd
}

// adoptInit takes PID 1 by its ID. It is a child that nobody has reaped, so that the ID is still its own,
// unless somebody in this program waits for every child or ignores SIGCHLD. Then it may have gone already,
// which is no error: the report tells the rest.
func (p *Process) adoptInit(pid int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pid = pid
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	if !isChild(fd) {
		unix.Close(fd)
		return nil
	}
	p.init = fd
	return nil
}

// end ends the program, wherever it is: before init is known by cutting the lifeline, which init
// looks at as soon as it watches it, later by a signal.
func (p *Process) end() {
	p.lifeline.Close()
	if p.joins {
		p.endJoin()
		return
	}
	_ = p.Kill() // it may have ended by itself
}

// Discard ends the program, and releases everything that Close does.
func (p *Process) Discard() { p.abandon() }

// abandon ends the program, if there is one, and returns the wait status of init.
func (p *Process) abandon() unix.WaitStatus {
	p.end()
	status, _, _ := p.reap()
	p.reapGroup(status)
	if p.joins {
		p.reapCommand()
	}
	p.Close()
	return status
}

// reapCommand kills the command of a joiner that was killed before it could reap it, and reaps it where that is
// this program's now.
func (p *Process) reapCommand() {
	if p.command < 0 {
		return // it was not executed; see awaitWithOrphans
	}
	_ = send(p.command, unix.SIGKILL)            // it may have ended
	_, _ = waitFor(unix.P_PIDFD, p.command, nil) // ECHILD: somebody else's
}

// reap waits for init.
func (p *Process) reap() (unix.WaitStatus, unix.Rusage, error) {
	var usage unix.Rusage
	if p.keeps && p.init >= 0 && reapsOrphans() {
		awaitWithOrphans(p.init)
	}
	p.leave()
	switch {
	case p.init >= 0:
		status, err := waitFor(unix.P_PIDFD, p.init, &usage)
		return status, usage, err
	case p.pid != 0:
		status, err := waitFor(unix.P_PID, p.pid, &usage)
		return status, usage, err
	}
	return 0, usage, unix.ECHILD
}

// leave waits for the end of PID 1 and says, before it is reaped, that its number is not its own any more.
func (p *Process) leave() {
	idType, id := unix.P_PIDFD, p.init
	if id < 0 {
		idType, id = unix.P_PID, p.pid
	}
	for id > 0 || idType == unix.P_PIDFD {
		if err := unix.Waitid(idType, id, nil, unix.WEXITED|unix.WNOWAIT, nil); !errors.Is(err, unix.EINTR) {
			break // ECHILD: somebody in this program has reaped it
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
}

// Close releases every descriptor of p. Nothing may use what Extra returned any more.
func (p *Process) Close() {
	if p.report != nil {
		p.report.file.Close()
	}
	if p.lifeline != nil {
		p.lifeline.Close()
	}
	for _, f := range p.extra {
		f.Close()
	}
	if p.inbox != nil {
		p.inbox.Close()
	}
	if p.far != nil {
		p.far.Close()
	}
	if p.listener != nil {
		p.listener.file.Close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != nil {
		p.last.Stop()
	}
	for _, fd := range []int{p.init, p.command} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	p.init, p.command = -1, -1
}
