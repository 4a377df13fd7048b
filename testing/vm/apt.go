package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// release is an apt of our own: it has sources of its own and an own idea of what is installed (nothing),
// and so reaches packages of any release, also as a user, without a trace in the host's apt. It trusts
// the keys that the host's apt trusts.
type release struct {
	dir     string
	options []string
}

// openRelease makes the state of an apt with these sources ("deb ADDRESS SUITE COMPONENT") below dir, and
// loads their lists of packages.
func openRelease(ctx context.Context, dir string, sources []string) (*release, error) {
	for _, sub := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	list, status := filepath.Join(dir, "sources.list"), filepath.Join(dir, "status")
	if err := os.WriteFile(list, []byte(strings.Join(sources, "\n")+"\n"), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(status, nil, 0o644); err != nil {
		return nil, err
	}
	r := &release{dir: dir, options: []string{
		"-o", "Dir::Etc::sourcelist=" + list,
		"-o", "Dir::Etc::sourceparts=-",
		"-o", "Dir::State=" + dir,
		"-o", "Dir::State::Lists=" + filepath.Join(dir, "lists"),
		"-o", "Dir::State::status=" + status,
		"-o", "Dir::Cache=" + filepath.Join(dir, "cache"),
		"-o", "APT::Architecture=amd64",
		"-o", "APT::Architectures=amd64",
		"-o", "Acquire::Languages=none",
		// As root, apt would load as a user who cannot write to the cache.
		"-o", "APT::Sandbox::User=root",
		// A source that cannot be reached is a warning otherwise.
		"-o", "APT::Update::Error-Mode=any",
	}}
	if err := r.run(ctx, "apt-get", "update", "-qq"); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *release) args(args []string) []string {
	return append(append([]string(nil), r.options...), args...)
}

func (r *release) run(ctx context.Context, program string, args ...string) error {
	return runQuiet(ctx, program, r.args(args)...)
}

// names lists the packages whose names begin with prefix.
func (r *release) names(ctx context.Context, prefix string) ([]string, error) {
	out, err := output(command(ctx, "apt-cache", r.args([]string{"pkgnames", prefix})...))
	return strings.Fields(string(out)), err
}

// unpack downloads packages and unpacks them below dir. Nothing is installed, and no script of theirs is run.
func (r *release) unpack(ctx context.Context, dir string, packages ...string) error {
	tmp, err := os.MkdirTemp(r.dir, "download-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	cmd := command(ctx, "apt-get", r.args(append([]string{"download", "-qq"}, packages...))...)
	cmd.Dir = tmp
	if _, err := output(cmd); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil {
		return err
	}
	if len(debs) != len(packages) {
		return fmt.Errorf("download %s: %d files came", strings.Join(packages, " "), len(debs))
	}
	for _, deb := range debs {
		if err := runQuiet(ctx, "dpkg-deb", "-x", deb, dir); err != nil {
			return err
		}
	}
	return nil
}

// sourceLines are the sources of suites, in the one-line format. keyring is for archives whose keys the
// host's apt does not trust, "" otherwise.
func (m mirrors) sourceLines(suites []suite, keyring string) ([]string, error) {
	var lines []string
	for _, s := range suites {
		address := map[string]string{"debian": m.debian, "security": m.security, "ubuntu": m.ubuntu}[s.archive]
		if address == "" {
			return nil, fmt.Errorf("no address is known for the archive %q", s.archive)
		}
		options := ""
		if keyring != "" {
			options = "[signed-by=" + keyring + "] "
		}
		lines = append(lines, "deb "+options+address+" "+s.name+" main")
	}
	return lines, nil
}
