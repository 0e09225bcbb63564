// Package execkind makes programs the handlers of tasks.
//
// Every run starts the program anew, under a shim: this same binary, started again for nothing but
// that. The shim is the subreaper of the program's whole tree and has a pipe to the server. At the
// pipe's end, so at any death of the server, it kills the tree; it passes on a stop, and tells how
// the program ended. On SQLite it holds the worker's lock file, too: as long as something of the tree
// may live, nobody takes up the task.
//
//	server ──starts──> shim ──starts──> the program ──> whatever it starts
//	   │ orders (pipe)   ^ │
//	   └─────────────────┘ └── reports (pipe), then exits when the tree is gone
//
// docs/exec.md says what a program sees of this.
package execkind

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"time"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"
	"github.com/lastcall-go/lastcall/task"
)

// Kind is a kind of task whose handler is a program.
type Kind struct {
	// Name names it. Queue is where its tasks wait, empty for the default.
	Name, Queue string
	// Path is the program's file, absolute, and Argv its arguments; Argv[0] is what it is called by.
	Path string
	Argv []string
	// Dir is the directory that it starts in, absolute.
	Dir string
	// Env is its environment, as NAME=value, beside what every run adds.
	Env []string
	// Concurrency, Timeout, MaxRunTime, OnStop, MaxAttempts and MaxCrashes are those of task.Kind.
	Concurrency             int
	Timeout, MaxRunTime     time.Duration
	OnStop                  task.OnStop
	MaxAttempts, MaxCrashes int
	// Retention is that of task.Kind.
	Retention task.Retention
	// Backoff is the wait after the first failed attempt; it doubles with each one, up to five
	// minutes or itself. It is also the wait after exit code 75.
	Backoff time.Duration
	// KillAfter is the time from SIGTERM to SIGKILL. It never reaches into what a stop has left for
	// recording.
	KillAfter time.Duration
	// Permanent are the exit codes after which trying again would not help.
	Permanent []int
	// User is who it runs as, nil for the server's own user. Only root can run it as another one.
	User *confine.User
	// Limits bound what a run may use, with all its processes.
	Limits confine.Limits
	// MaxTmp bounds the bytes that a run's directory may take, with all that is in it; 0 is no bound.
	MaxTmp int64
	// HostPID leaves it in the server's PID namespace also where the Runner has others for programs.
	HostPID bool
}

// Register makes the kind known to a mux. It panics if the kind's name is invalid or taken.
func (r *Runner) Register(m *task.Mux, k Kind) {
	if k.User != nil {
		r.users = append(r.users, k.User.UID)
	}
	kind := task.Kind[json.RawMessage]{
		Name: k.Name, Queue: k.Queue, Timeout: k.Timeout, MaxRunTime: k.MaxRunTime, Concurrency: k.Concurrency, OnStop: k.OnStop,
		MaxAttempts: k.MaxAttempts, MaxCrashes: k.MaxCrashes, Backoff: backoff(k.Backoff), Retention: k.Retention,
	}
	task.Handle(m, kind, func(ctx context.Context, run *task.Run, payload json.RawMessage) error {
		return r.handle(ctx, run, k, payload)
	})
}

// maxBackoff bounds the doubling.
const maxBackoff = 5 * time.Minute

// backoff doubles a wait, up to five minutes or itself, and spreads it by a fifth, so that what
// failed together does not come back together.
func backoff(first time.Duration) func(n int) time.Duration {
	return func(n int) time.Duration {
		d, limit := first, max(first, maxBackoff)
		for ; n > 1 && d < limit; n-- {
			d *= 2
		}
		d = min(d, limit)
		return d - d/5 + rand.N(2*d/5+1)
	}
}
