// Package probe reads what the host is like, as far as the set-up of a sandbox depends on it: it looks
// and changes nothing. All paths can be read below another root, so that tests make their own hosts.
package probe
