package sandboxtest

import (
	"os"
	"strings"
	"testing"
)

func TestHasAnAccountOfItsOwn(t *testing.T) {
	if os.Getuid() != UID {
		return // started by a user: the account is the user's
	}
	for file, want := range map[string]string{"passwd": accountLine, "subuid": subuidLines, "subgid": subgidLines} {
		data, err := os.ReadFile("/etc/" + file)
		if err != nil {
			Skip(t, "subordinate-ids", err.Error())
		}
		if !strings.HasSuffix(string(data), want) {
			t.Errorf("/etc/%s ends in %q", file, data[max(0, len(data)-80):])
		}
	}
	Need(t, SubordinateIDs())
}

// The control of what the user sees: nothing of it is the host's.
func TestRootAccountOfTheUserIsNotTheHosts(t *testing.T) {
	for _, file := range []string{"passwd", "subuid", "subgid"} {
		data, err := os.ReadFile("/etc/" + file)
		if err == nil && strings.Contains(string(data), Account) {
			t.Errorf("/etc/%s has the tests' user", file)
		}
	}
}
