// Package execkind makes programs the handlers of tasks.
//
// Every run is a new process of the program. It runs under a shim, which is this same binary,
// started again for that purpose alone.
//
// The shim is the subreaper of the program's whole tree, and is connected to the server by a pipe:
//
//   - It passes on a stop, and reports how the program ended.
//   - When the pipe is closed, so at any death of the server, it kills the tree.
//   - On SQLite it also holds the worker's lock file. As long as any process of the tree may live,
//     no other worker resumes the task.
//
// Who starts whom, and what goes where:
//
//	server ──starts──> shim ──starts──> the program ──> whatever it starts
//	   │ orders (pipe)   ^ │
//	   └─────────────────┘ └── reports (pipe), then exits when the tree is gone
//
// docs/exec.md describes what a program sees of this.
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
	// Name is its name. Queue is the queue of its tasks, empty for the default.
	Name, Queue string
	// Path is the absolute path of the program's file. Argv are its arguments; Argv[0] is its name.
	Path string
	Argv []string
	// Dir is the absolute path of the directory that it starts in.
	Dir string
	// Env is its environment, as NAME=value. Every run adds the variables of [Variables].
	Env []string
	// Concurrency, Timeout, MaxRunTime, OnStop, MaxAttempts and MaxCrashes are those of task.Kind.
	Concurrency             int
	Timeout, MaxRunTime     time.Duration
	OnStop                  task.OnStop
	MaxAttempts, MaxCrashes int
	// Retention is that of task.Kind.
	Retention task.Retention
	// Backoff is the wait after the first failed attempt. It doubles with each further one, up to five
	// minutes, or up to itself if that is more. It is also the wait after exit code 75.
	Backoff time.Duration
	// KillAfter is the time from SIGTERM to SIGKILL. In a stop it is cut short so that there is time
	// left to record the run.
	KillAfter time.Duration
	// Permanent are the exit codes after which trying again would not help.
	Permanent []int
	// User is the user that it runs as, nil for the server's own. Only root can run it as another one.
	User *confine.User
	// Limits bound what a run may use, all its processes together.
	Limits confine.Limits
	// MaxTmp bounds the bytes that a run's directory may take, with everything in it; 0 is no bound.
	MaxTmp int64
	// HostPID leaves it in the server's PID namespace, even if the Runner isolates programs.
	HostPID bool
}

// Register registers the kind with a mux. It panics if the kind's name is invalid or taken.
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

// maxBackoff bounds the doubling of the backoff.
const maxBackoff = 5 * time.Minute

// backoff doubles a wait, up to five minutes, or up to itself if that is more. It spreads the wait
// by a fifth, so that tasks that failed together are not retried together.
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
