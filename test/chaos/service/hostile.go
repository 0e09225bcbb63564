//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// hostileScript ignores signals and starts itself again and again, each time in a session of its
// own, until a limit stops it. $1 is how many generations may follow. It ends after a minute.
const hostileScript = `
	trap "" HUP INT TERM
	n=0
	while [ $n -lt 120 ]; do
		n=$((n + 1))
		[ "$1" -gt 0 ] && (setsid sh -c "$HOSTILE" hostile $(($1 - 1)) &)
		sleep 0.5
	done`

// hostileLimits are the limits of each hostile process. The limit of processes counts all of that
// user.
var hostileLimits = map[int]uint64{
	unix.RLIMIT_NPROC:  16,
	unix.RLIMIT_NOFILE: 64,
	unix.RLIMIT_DATA:   64 << 20, // bytes
	unix.RLIMIT_FSIZE:  1 << 20,  // bytes
	unix.RLIMIT_CPU:    10,       // seconds
	unix.RLIMIT_CORE:   0,
}

// forkForEver is a child that leaves a hostile grandchild behind. It confines itself before it
// starts the grandchild, which then runs as another user.
func forkForEver() error {
	user, cgroups, err := confinement()
	if err != nil {
		return err
	}
	for _, path := range cgroups {
		if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
			return err
		}
	}
	for limit, most := range hostileLimits {
		if err := unix.Setrlimit(limit, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			return fmt.Errorf("limit %d: %w", limit, err)
		}
	}
	cmd := exec.Command("sh", "-c", hostileScript, "hostile", "4") //nolint:noctx // nobody ends it on purpose
	cmd.Dir, cmd.Env = "/", append(os.Environ(), "HOSTILE="+hostileScript)
	cmd.Stdout = os.Stdout // its errors are of no use
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: user, Gid: user}}
	return cmd.Start()
}

// confinement reads what the harness has created for hostile children. Without it there must be no
// hostile children.
func confinement() (user uint32, cgroups []string, err error) {
	parts := strings.Split(os.Getenv(wire.EnvHostile), ":")
	n, err := strconv.ParseUint(parts[0], 10, 32)
	if err != nil || n == 0 {
		return 0, nil, errors.New(wire.EnvHostile + " names no user: nothing hostile is started without one")
	}
	return uint32(n), parts[1:], nil
}
