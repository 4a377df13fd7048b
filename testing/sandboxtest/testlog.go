package sandboxtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
)

// testlogHeader begins the file in which package testing notes the files and variables that tests
// look at, so that the go command knows for how long a result may be cached.
const testlogHeader = "# test log\n"

// appendTestlog adds log, what the user's tests looked at, to the file that the go command reads.
// Without it a result would stay cached when testdata change.
func appendTestlog(to string, log []byte) error {
	entries, ok := bytes.CutPrefix(log, []byte(testlogHeader))
	if !ok {
		return errors.New("the test log of the user's tests has no header")
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		if _, err := f.WriteString(testlogHeader); err != nil {
			return err
		}
	}
	// Names in the log are relative to its last chdir.
	_, err = fmt.Fprintf(f, "chdir %s\n%s", dir, entries)
	return err
}
