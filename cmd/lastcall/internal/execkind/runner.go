package execkind

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"
	"github.com/lastcall-go/lastcall/internal/proc"
)

const (
	// tidyWait is how long a run waits until its directory is removed. If the removal takes longer, as
	// with a million files, the run ends without waiting, but only while fewer than maxLate removals
	// are in progress: a program must not fill the disk faster than it is emptied.
	tidyWait = 500 * time.Millisecond
	maxLate  = 4
)

// Runner runs the programs of one server.
type Runner struct {
	// Keeper starts the shims, and ends what is left of the tree of a shim that was killed. For that
	// the server should be a subreaper, or PID 1.
	Keeper *proc.Keeper
	// InheritLock returns a descriptor, for a shim to hold, of the lock that proves that a worker is
	// alive. It is nil if the store has no such locks.
	InheritLock func(worker string) (*os.File, error)
	// Isolation isolates programs from other processes. [FindIsolation] finds what the system allows.
	Isolation confine.Isolation
	// Cgroups creates the control groups of kinds with Limits. It must be set if there are such kinds.
	Cgroups *confine.Cgroups
	// Logger gets the messages that are for the operator and not for the log of a task.
	Logger *slog.Logger

	users []uint32 // of the kinds

	mu       sync.Mutex
	closed   bool
	programs map[*supervised]bool
	late     map[<-chan struct{}]bool // directories that are being removed though their runs are over
}

// Close kills programs that still run because their handlers were abandoned. It waits until nothing
// of them is left, or until ctx ends. Call it before the store is closed: as long as a program may
// live, its worker's lock must be held.
func (r *Runner) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	programs, late := slices.Collect(maps.Keys(r.programs)), slices.Collect(maps.Keys(r.late))
	r.mu.Unlock()
	for _, p := range programs {
		p.end()
	}
	for i, p := range programs {
		select {
		case <-p.done:
		case <-ctx.Done():
			return fmt.Errorf("%d programs may still run: %w", len(programs)-i, context.Cause(ctx))
		}
	}
	for i, done := range late {
		select {
		case <-done:
		case <-ctx.Done(): // a removal that takes long does not fail the stop
			r.Logger.Warn("directories of runs are left behind, since it takes long to remove them", "n", len(late)-i, "in", os.TempDir())
			return nil
		}
	}
	return nil
}

// keep registers a program until forget is called.
func (r *Runner) keep(p *supervised) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.programs == nil {
		r.programs = make(map[*supervised]bool)
	}
	r.programs[p] = true
	if r.closed {
		p.end()
	}
}

// forget removes a program that has ended.
func (r *Runner) forget(p *supervised) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.programs, p)
}

// tidy removes the directory of a run.
func (r *Runner) tidy(remove func() error, task, kind string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := remove(); err != nil {
			r.Logger.Warn("cannot tidy up after a run", "task", task, "kind", kind, "error", err)
		}
	}()
	if !closedWithin(tidyWait, done) && !r.leave(done) {
		<-done
	}
}

// leave reports whether a run may end before its directory is removed: not if too many have done
// so.
func (r *Runner) leave(done <-chan struct{}) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for d := range r.late {
		if closedWithin(0, d) {
			delete(r.late, d)
		}
	}
	if len(r.late) >= maxLate {
		return false
	}
	r.late = added(r.late, done)
	return true
}

// added adds a removal to a set, which may be nil.
func added(late map[<-chan struct{}]bool, done <-chan struct{}) map[<-chan struct{}]bool {
	if late == nil {
		late = make(map[<-chan struct{}]bool)
	}
	late[done] = true
	return late
}
