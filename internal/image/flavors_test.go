//go:build linux && (amd64 || arm64)

package image

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// The image holds machine code that is copied out of this program's text, which each of these flags lays
// out in another way.
var flavors = [...]struct {
	name  string
	needs string // a program, or nothing
	flags []string
}{
	{"pie", "", []string{"-buildmode=pie"}},
	{"trimpath", "", []string{"-trimpath"}},
	{"stripped", "", []string{"-ldflags=-s -w"}},
	{"race", "gcc", []string{"-race"}},
}

// Root's Go caches are out of reach of the user that sandboxtest.Main turns root into, so that these tests
// are for root there, and for everybody elsewhere.

func TestRootImagesRunHoweverTheyAreBuilt(t *testing.T) { testFlavors(t) }

func TestImagesRunHoweverTheyAreBuilt(t *testing.T) {
	if os.Getuid() != sandboxtest.UID {
		testFlavors(t)
	}
}

func testFlavors(t *testing.T) {
	if emulator() != "" || testing.Short() || os.Getenv(flavorEnv) != "" {
		return // one that was started below, or one in a hurry
	}
	for _, f := range flavors {
		t.Run(f.name, func(t *testing.T) {
			if f.needs != "" {
				sandboxtest.Need(t, sandboxtest.Program(f.needs))
			}
			binary := buildTests(t, nil, f.flags...)
			runTests(t, exec.Command(binary))
		})
	}
}

// The second interpreter runs the same programs, but for those that make processes.
func TestRootARM64Interpreter(t *testing.T) { testARM64(t) }

func TestARM64Interpreter(t *testing.T) {
	if os.Getuid() != sandboxtest.UID {
		testARM64(t)
	}
}

func testARM64(t *testing.T) {
	if stubArch != "amd64" || emulator() != "" || os.Getenv(flavorEnv) != "" {
		return // it is the one that is tested
	}
	const qemu = "qemu-aarch64-static"
	sandboxtest.Need(t, sandboxtest.Program(qemu))
	path, err := exec.LookPath(qemu)
	if err != nil {
		t.Fatal(err)
	}
	binary := buildTests(t, []string{"GOARCH=arm64", "CGO_ENABLED=0"})
	cmd := exec.Command(path, binary)
	cmd.Env = append(os.Environ(), "RINGFENCE_IMAGE_EMULATOR="+path)
	runTests(t, cmd)
}

// flavorEnv tells a test binary that it was started by a test of this file.
const flavorEnv = "RINGFENCE_IMAGE_FLAVOR"

// buildTests builds the tests of this package. Nothing is written to the module's directory.
func buildTests(t *testing.T, env []string, flags ...string) string {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.Program("go"))
	if _, err := os.UserCacheDir(); err != nil {
		env = append(env, "GOCACHE="+t.TempDir()) // a user without a home
	}
	binary := filepath.Join(t.TempDir(), "image.test")
	args := append([]string{"test", "-c", "-vet=off", "-buildvcs=false", "-mod=readonly", "-o", binary}, flags...)
	cmd := exec.Command("go", append(args, ".")...)
	cmd.Env = append(os.Environ(), append(env, "GOFLAGS=")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return binary
}

// runTests runs the tests in a binary of this package.
func runTests(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Args = append(cmd.Args, "-test.short", "-test.v")
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, flavorEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- PASS: TestInterpreterAgreesWithTheReference") {
		t.Errorf("the interpreter was not tested:\n%s", out)
	}
}
