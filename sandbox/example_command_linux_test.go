package sandbox_test

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/moby/sys/capability"

	"github.com/ringfence-go/ringfence/sandbox"
)

// What is kept, and by which means, is in the Result.
func ExampleSpec_capabilities() {
	result, err := sandbox.Run(context.Background(), sandbox.Spec{
		Args:         []string{"true"},
		Capabilities: []capability.Cap{capability.CAP_NET_RAW, capability.CAP_CHOWN},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range result.Enforced {
		if e.Feature == sandbox.Capabilities {
			fmt.Println(e.By)
		}
	}
	// Output: capset, bounding and ambient set, of its user namespace: CAP_CHOWN CAP_NET_RAW
}

// A terminal for one command: its output is in Output's result, with the line breaks of a terminal.
// On a host that gives no user namespaces Landlock holds the command, if the Spec says that this will do.
func ExampleWithoutUserNamespaces() {
	result, err := sandbox.Run(context.Background(), sandbox.Spec{
		Args: []string{"sh", "-c", "echo hi; cat /etc/shadow 2>/dev/null"}, Stdout: os.Stdout,
		AllowMissing: sandbox.WithoutUserNamespaces(),
	})
	if err != nil {
		fmt.Println(err) // there is no Landlock either
		return
	}
	fmt.Println(result, len(result.Missing) == 0 || slices.Contains(result.Missing, sandbox.UserNamespace))
	// Output:
	// hi
	// exit status 1 true
}

func ExampleTerminal() {
	out, err := sandbox.Output(context.Background(), sandbox.Spec{
		Args:     []string{"sh", "-c", "tty; stty size"},
		Terminal: &sandbox.Terminal{Rows: 30, Cols: 90},
	})
	fmt.Printf("%q %v\n", out, err)
	// Output: "/dev/pts/0\r\n30 90\r\n" <nil>
}

// The command is asked to end, and has some time to do so.
func ExampleSpec_stopSignal() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := sandbox.Command(ctx, sandbox.Spec{
		Args:        []string{"sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done"},
		StopSignal:  syscall.SIGTERM,
		StopTimeout: 5 * time.Second,
	})
	out, err := cmd.StdoutPipe()
	if err != nil {
		log.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		log.Fatal(err)
	}
	cancel()
	result, err := cmd.Wait()
	fmt.Println(result.Ended, result.ExitCode, err)
	// Output: canceled 3 context canceled
}

// Every process of the sandbox gets the signal, whoever started it.
func ExampleCmd_SignalAll() {
	var out strings.Builder
	cmd := sandbox.Command(context.Background(), sandbox.Spec{Args: []string{"sh", "-c", "sleep 1000 & sleep 1000"}, Stdout: &out})
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	if err := cmd.SignalAll(syscall.SIGTERM); err != nil {
		log.Fatal(err)
	}
	result, err := cmd.Wait()
	fmt.Println(result, err)
	// Output: signal: terminated <nil>
}
