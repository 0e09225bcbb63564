//go:build linux

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/clock"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// killed is the signal that the processes of a run get when the harness dies.
const killed = syscall.SIGKILL

// driver returns the driver's command for a slot.
func (r *run) driver(role, slot string) func(process string) (*exec.Cmd, error) {
	return func(process string) (*exec.Cmd, error) {
		address, err := r.store.address(slot)
		if err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(context.Background(), r.opt.driver, role) // it ends with the run
		cmd.Env = r.environment(process, address)
		if r.clocks[slot] != nil {
			cmd.Env = append(cmd.Env, clock.EnvClock+"="+r.clockFile(slot))
		}
		if role == "client" {
			if _, err := cmd.StdinPipe(); err != nil { // this ends with the harness
				return nil, err
			}
		}
		return cmd, nil
	}
}

// environment returns the environment of a process of the run: that of the harness, and the
// variables that package wire names.
func (r *run) environment(process, store string) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "LASTCALL_") || strings.HasPrefix(v, "KUBERNETES_") || strings.HasPrefix(v, "PG")
	})
	env = append(env, r.environ...)
	return append(env, r.mark(), wire.EnvName+"="+process, wire.EnvStore+"="+store, wire.EnvLease+"="+lease.String(),
		wire.EnvGrace+"="+grace.String(), wire.EnvBreak+"="+r.opt.breaks, wire.EnvRetention+"="+r.retention().String(),
		wire.EnvHostile+"="+r.hostile, "TMPDIR="+filepath.Join(r.scratch, "tmp"))
}

// retention is how long ended tasks are kept. In a SQLite file the times are those of the workers:
// a worker whose clock is ahead would remove tasks that a client may still ask for.
func (r *run) retention() time.Duration {
	if r.opt.store == sqlite && slices.ContainsFunc(r.kinds, func(k kind) bool { return k.name == clockForward }) {
		return 0
	}
	return r.opt.retention
}

// mark returns the environment variable by which all processes of a run are found, including those
// that they leave behind.
func (r *run) mark() string { return wire.EnvSocket + "=" + filepath.Join(r.scratch, "hub") }
