//go:build !unix

package main

import "os"

// Of these signals other systems know none.
var resized, leaving, stopping []os.Signal
