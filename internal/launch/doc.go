// Package launch starts an image and stays with it to its end: it passes the descriptors, reads the
// report, answers the request for ID maps, kills, and waits.
//
// Read start_linux.go from top to bottom: it is the story of a start. process_linux.go is what comes
// after, file_linux.go how the image becomes something that can be executed, report_linux.go how
// records and pidfds are received.
package launch
