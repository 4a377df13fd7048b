package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// The parser of AppArmor's profiles that knows user namespaces came with Ubuntu 24.04. Debian 12 has none, and none
// runs on the minimal machine, so that it goes along with its libraries.
var (
	apparmorSuites   = []suite{{"ubuntu", "noble"}}
	apparmorPackages = []string{"apparmor", "libc6", "libgcc-s1", "libstdc++6"}
	apparmorFiles    = []string{
		"sbin/apparmor_parser", "etc/apparmor.d/abi", "etc/apparmor.d/tunables",
		"usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu/libc.so.6", "usr/lib/x86_64-linux-gnu/libm.so.6",
		"usr/lib/x86_64-linux-gnu/libgcc_s.so.1", "usr/lib/x86_64-linux-gnu/libstdc++.so.6",
	}
)

// apparmorEnv tells the tests where they find it.
const apparmorEnv = "RINGFENCE_VM_APPARMOR"

// apparmor returns the folder with what loads profiles.
func (c *cache) apparmor(ctx context.Context) (string, error) {
	dir := c.path("apparmor")
	return dir, makeOnce(dir, func(tmp string) error {
		keyring, err := c.ubuntuKeyring(ctx)
		if err != nil {
			return err
		}
		r, err := c.release(ctx, "apparmor", apparmorSuites, keyring)
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "vm: fetch AppArmor's parser")
		all, err := os.MkdirTemp(r.dir, "unpacked-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(all)
		if err := r.unpack(ctx, all, apparmorPackages...); err != nil {
			return err
		}
		for _, name := range apparmorFiles {
			to := filepath.Join(tmp, name)
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return err
			}
			// Links are looked through: the names of libraries are some.
			if _, err := output(exec.CommandContext(ctx, "cp", "-rL", filepath.Join(all, name), to)); err != nil {
				return err
			}
		}
		return nil
	})
}
