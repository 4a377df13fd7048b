module github.com/ringfence-go/ringfence

go 1.26.0

require (
	github.com/godbus/dbus/v5 v5.2.4
	github.com/moby/profiles/seccomp v0.2.3
	github.com/moby/sys/capability v0.5.0
	github.com/moby/sys/user v0.5.0
	github.com/rogpeppe/go-internal v1.16.0
	github.com/seccomp/libseccomp-golang v0.11.1
	golang.org/x/net v0.62.0
	golang.org/x/sys v0.49.0
	golang.org/x/term v0.47.0
)

require (
	github.com/opencontainers/runtime-spec v1.2.1 // indirect
	golang.org/x/tools v0.26.0 // indirect
)
