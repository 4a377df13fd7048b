package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// source is one place of packages: a line, or a combination of fields, in the host's apt sources.
type source struct {
	uri, suite string
}

// parseList reads the one-line format of sources.list(5).
func parseList(text string) []source {
	var all []source
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if open := strings.Index(line, "["); open >= 0 { // options
			if end := strings.Index(line, "]"); end > open {
				line = line[:open] + line[end+1:]
			}
		}
		if f := strings.Fields(line); len(f) >= 3 && f[0] == "deb" {
			all = append(all, source{f[1], f[2]})
		}
	}
	return all
}

// parseDeb822 reads the format of fields and paragraphs of sources.list(5).
func parseDeb822(text string) []source {
	var all []source
	fields := map[string][]string{}
	last := ""
	flush := func() {
		if slices.Contains(fields["types"], "deb") && !slices.Contains(fields["enabled"], "no") {
			for _, uri := range fields["uris"] {
				for _, suite := range fields["suites"] {
					all = append(all, source{uri, suite})
				}
			}
		}
		clear(fields)
	}
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			flush()
		case line[0] == ' ' || line[0] == '\t':
			fields[last] = append(fields[last], strings.Fields(line)...)
		default:
			name, value, _ := strings.Cut(line, ":")
			last = strings.ToLower(name)
			fields[last] = strings.Fields(value)
		}
	}
	flush()
	return all
}

// hostSources reads the apt sources below root.
func hostSources(root string) ([]source, error) {
	var all []source
	add := func(name string, parse func(string) []source) error {
		data, err := os.ReadFile(name)
		all = append(all, parse(string(data))...)
		return err
	}
	dir := filepath.Join(root, "etc/apt")
	if err := add(filepath.Join(dir, "sources.list"), parseList); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	parts, err := filepath.Glob(filepath.Join(dir, "sources.list.d", "*"))
	if err != nil {
		return nil, err
	}
	for _, name := range parts {
		parse := parseList
		switch filepath.Ext(name) {
		case ".sources":
			parse = parseDeb822
		case ".list":
		default: // as apt, which ignores copies that editors keep
			continue
		}
		if err := add(name, parse); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// osRelease reads a field of os-release(5).
func osRelease(text, field string) string {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, field+"="); ok {
			return strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	return ""
}

// mirrors are the addresses of the archives that machines are made of.
type mirrors struct {
	debian, security, ubuntu string // "" if unknown
}

// findMirrors tells which of the host's sources are its distribution's own, by the name of its release.
// What that does not tell is taken from the environment, or guessed from an address that is known:
// whoever mirrors one distribution often mirrors the other beside it.
func findMirrors(all []source, id, codename string, getenv func(string) string) mirrors {
	var m mirrors
	for _, s := range all {
		switch {
		case id == "debian" && s.suite == codename && m.debian == "":
			m.debian = s.uri
		case id == "debian" && (s.suite == codename+"-security" || s.suite == codename+"/updates") && m.security == "":
			m.security = s.uri
		case id == "ubuntu" && s.suite == codename && m.ubuntu == "":
			m.ubuntu = s.uri
		}
	}
	set := func(to *string, env string) {
		if value := getenv(env); value != "" {
			*to = value
		}
	}
	set(&m.debian, "RINGFENCE_VM_DEBIAN")
	set(&m.security, "RINGFENCE_VM_DEBIAN_SECURITY")
	set(&m.ubuntu, "RINGFENCE_VM_UBUNTU")
	guess := func(to *string, from, name string) {
		if *to == "" && from != "" {
			*to = sibling(from, name)
		}
	}
	guess(&m.ubuntu, m.debian, "ubuntu")
	guess(&m.debian, m.ubuntu, "debian")
	guess(&m.security, m.debian, "debian-security")
	return m
}

// sibling replaces the last part of the path of an address.
func sibling(uri, name string) string {
	u, err := url.Parse(strings.TrimSuffix(uri, "/"))
	if err != nil || u.Path == "" {
		return ""
	}
	u.Path = u.Path[:strings.LastIndex(u.Path, "/")+1] + name
	return u.String()
}

// hostMirrors is findMirrors for this machine.
func hostMirrors() (mirrors, error) {
	all, err := hostSources("/")
	if err != nil {
		return mirrors{}, err
	}
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return mirrors{}, err
	}
	m := findMirrors(all, osRelease(string(release), "ID"), osRelease(string(release), "VERSION_CODENAME"), os.Getenv)
	if m.debian == "" {
		return m, fmt.Errorf("the apt sources of this machine name no archive of Debian: set RINGFENCE_VM_DEBIAN to the address of one")
	}
	return m, nil
}
