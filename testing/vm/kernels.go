package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// kernel is one that machines can be started with.
type kernel struct {
	name   string // as in -kernel
	suites []suite
	// prefix is what its version begins with, and flavor what the name of its package ends in.
	prefix, flavor string
}

// suite is a part of an archive: "distribution" in the words of sources.list(5).
type suite struct {
	archive string // a key in mirrors.address
	name    string
}

// kernels are those of the matrix, oldest first. Debian's for clouds have the drivers of QEMU's devices
// and few others. A backport of a later kernel counts as the newest.
var kernels = []kernel{
	{"5.10", []suite{{"debian", "bullseye"}, {"security", "bullseye-security"}}, "5.10.", "cloud-amd64"},
	{"5.15", []suite{{"ubuntu", "jammy"}, {"ubuntu", "jammy-updates"}}, "5.15.", "generic"},
	{"6.1", []suite{{"debian", "bookworm"}, {"security", "bookworm-security"}}, "6.1.", "cloud-amd64"},
	{"6.8", []suite{{"ubuntu", "jammy-updates"}}, "6.8.", "generic"},
	{"6.12", []suite{{"debian", "trixie"}, {"security", "trixie-security"}}, "6.12.", "cloud-amd64"},
	{"newest", []suite{{"debian", "trixie-backports"}, {"debian", "sid"}}, "", "cloud-amd64"},
}

func findKernel(name string) (kernel, error) {
	var names []string
	for _, k := range kernels {
		if k.name == name {
			return k, nil
		}
		names = append(names, k.name)
	}
	return kernel{}, fmt.Errorf("no kernel %q: there are %s", name, strings.Join(names, ", "))
}

var kernelPackage = regexp.MustCompile(`^linux-(image|binary|modules)(-unsigned)?-([0-9].*)$`)

// pick returns the latest version of k among the names of packages, and the packages that hold its image
// and its modules. Older kernels have both in linux-image; Ubuntu's and those after 7.0 have the modules
// apart, and the latter the image in linux-binary. An image that nobody signed yet is as good as a
// signed one here.
func (k kernel) pick(names []string) (version string, packages []string, err error) {
	byVersion := map[string]map[string]bool{}
	for _, name := range names {
		m := kernelPackage.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		v, ok := strings.CutSuffix(m[3], "-"+k.flavor)
		if !ok || !strings.HasPrefix(v, k.prefix) {
			continue
		}
		if byVersion[v] == nil {
			byVersion[v] = map[string]bool{}
		}
		byVersion[v][m[1]+m[2]] = true
	}
	for v, kinds := range byVersion {
		if version != "" && compareVersions(v, version) < 0 {
			continue
		}
		var found []string
		for _, kind := range []string{"binary", "binary-unsigned", "image", "image-unsigned"} {
			if kinds[kind] {
				found = append(found, "linux-"+kind+"-"+v+"-"+k.flavor)
				break
			}
		}
		if kinds["modules"] {
			found = append(found, "linux-modules-"+v+"-"+k.flavor)
		}
		if len(found) > 0 && (len(found) == 2 || !kinds["modules"] && !kinds["binary"] && !kinds["binary-unsigned"]) {
			version, packages = v, found
		}
	}
	if version == "" {
		return "", nil, fmt.Errorf("no package holds a kernel %s* of the flavor %s", k.prefix, k.flavor)
	}
	return version, packages, nil
}

// compareVersions compares numbers as numbers and skips what stands between them.
func compareVersions(a, b string) int {
	numbers := func(s string) []int {
		var all []int
		for _, part := range strings.FieldsFunc(s, func(r rune) bool { return r < '0' || r > '9' }) {
			n, _ := strconv.Atoi(part) // digits; a number past the range of int is no version
			all = append(all, n)
		}
		return all
	}
	return slices.Compare(numbers(a), numbers(b))
}
