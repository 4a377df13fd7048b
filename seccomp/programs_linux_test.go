package seccomp

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// programFilter compiles for the ABI of the test and the one of the programs of a 64-bit machine.
func programFilter(t *testing.T, p *Policy) []byte {
	t.Helper()
	archs := []string{runtime.GOARCH}
	if wide := map[string]string{"386": "amd64", "arm": "arm64"}[runtime.GOARCH]; wide != "" {
		archs = append(archs, wide)
	}
	return compileWithPure(t, p, archs...).Raw()
}

// The policies are wide enough for real programs, of those that the machine has.
func TestProgramsRunUnderDefault(t *testing.T) {
	programs := map[string][]string{
		"sh":      {"-c", "echo ok | cat > f && mkfifo p && ln -s f l && test \"$(cat l)\" = ok && (exit 0) && kill -0 $$"},
		"git":     {"-c", "user.name=a", "-c", "user.email=a@b", "init", "-q", "repo"},
		"gcc":     {"-O2", "-pthread", "-o", "hello", "-x", "c", "hello.c"},
		"python3": {"-c", pythonProgram},
		"node":    {"-e", nodeProgram},
		"java":    {"Hello.java"},
		"go":      {"build", "-o", "prog", "prog.go"},
		"rustc":   {"--version"},
	}
	files := map[string]string{
		"hello.c":    "int main(void) { return 0; }\n",
		"prog.go":    "package main\n\nfunc main() { println(1) }\n",
		"Hello.java": javaProgram,
	}
	filter := programFilter(t, Default())
	for name, args := range programs {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Logf("%s is not on this machine", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			v := victim{Filter: filter, Exec: append([]string{path}, args...)}
			v.mustSucceed(t, dir)
		})
	}
}

const pythonProgram = `
import multiprocessing, os, socket, subprocess, tempfile, threading
t = threading.Thread(target=print); t.start(); t.join()
s = socket.create_server(("127.0.0.1", 0)); c = socket.create_connection(s.getsockname()); c.close()
a, b = socket.socketpair(); a.send(b"x"); assert b.recv(1) == b"x"
assert subprocess.run(["true"]).returncode == 0
socket.if_nameindex()
try: socket.socket(socket.AF_PACKET); raise SystemExit(3)
except OSError: pass
`

const nodeProgram = `
const http = require("http"), {Worker} = require("worker_threads"), cp = require("child_process");
require("os").networkInterfaces();
cp.execFileSync("true");
const w = new Worker("process.exit(0)", {eval: true});
w.on("exit", () => {
	const s = http.createServer((q, r) => r.end("x")).listen(0, "127.0.0.1", () =>
		http.get({port: s.address().port, host: "127.0.0.1"}, r => { r.resume(); r.on("end", () => process.exit(0)); }));
});
`

const javaProgram = `
public class Hello {
	public static void main(String[] a) throws Exception {
		Thread t = new Thread(() -> System.gc());
		t.start();
		t.join();
		try (var s = new java.net.ServerSocket(0, 1, java.net.InetAddress.getLoopbackAddress())) {
			new java.net.Socket(s.getInetAddress(), s.getLocalPort()).close();
		}
		if (new ProcessBuilder("true").start().waitFor() != 0) System.exit(3);
	}
}
`

// Programs of the kind that judges run live under Strict.
func TestProgramsRunUnderStrict(t *testing.T) {
	programs := map[string][]string{
		"cat":  {"/dev/null"},
		"sort": {"/dev/null"},
		"awk":  {"BEGIN { print 1 }"},
		// By path, since what comes first in PATH may be a shell script.
		"/usr/bin/python3": {"-c", "print(sum(range(10)), __import__('sys').version)"},
		"/usr/bin/java":    {"-version"},
	}
	filter := programFilter(t, Strict(StrictOptions{}))
	for name, args := range programs {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Logf("%s is not on this machine", name)
			continue
		}
		v := victim{Filter: filter, Exec: append([]string{path}, args...)}
		v.mustSucceed(t, t.TempDir())
	}
	// The control: a process of its own is the end.
	if path, err := exec.LookPath("sh"); err == nil {
		v := victim{Filter: filter, Exec: []string{path, "-c", "true | true"}}
		if _, state, _ := v.start(t, t.TempDir()); !diedOfSIGSYS(state) {
			t.Errorf("a new process: %v, want SIGSYS", state)
		}
	}
}
