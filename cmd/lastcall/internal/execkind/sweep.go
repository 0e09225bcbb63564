package execkind

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/lastcall-go/lastcall"
)

// sweepEvery is how often directories of dead runs are looked for.
const sweepEvery = time.Minute

// Sweep removes the directories of dead runs from the temporary directory, at once and every
// minute, until last call:
//
//   - those of servers that were killed together with their shims,
//   - those that this server could not remove when their runs ended, for example for want of
//     descriptors.
//
// A run is alive as long as a server or a shim on this machine holds its directory. Directories of
// other users are left alone, except those of the users of kinds.
//
// At last call it returns at once. Close waits for the removals that are in progress then.
func (r *Runner) Sweep(ctx context.Context) error {
	stop := lastcall.LastCall(ctx)
	if stop == nil {
		stop = ctx.Done()
	}
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for failed := ""; ; {
		err := r.sweep(stop)
		if err != nil && err.Error() != failed {
			r.Logger.Warn("cannot remove what dead runs have left; trying again", "in", os.TempDir(), "error", err)
		}
		if failed = ""; err != nil {
			failed = err.Error()
		}
		select {
		case <-tick.C:
		case <-stop:
			return nil
		}
	}
}

// sweep removes the directories of runs that are dead now.
func (r *Runner) sweep(stop <-chan struct{}) (failed error) {
	n := 0
	err := deadFolders(os.TempDir(), r.owns, func(d *folder) bool {
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer d.close()
			err = d.remove()
		}()
		select {
		case <-done:
		case <-stop:
			r.waitLater(done)
			return false
		}
		if failed == nil {
			failed = err
		}
		if err == nil {
			n++
		}
		return true
	})
	if n > 0 {
		r.Logger.Info("removed what dead runs had left", "directories", n, "in", os.TempDir())
	}
	if failed == nil {
		failed = err
	}
	return failed
}

// owns reports whether directories of a user are this server's. They are if the user is its own or
// that of one of its kinds.
func (r *Runner) owns(uid uint32) bool {
	return uid == uint32(os.Geteuid()) || slices.Contains(r.users, uid)
}

// waitLater makes Close wait for a removal.
func (r *Runner) waitLater(done <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.late = added(r.late, done)
}
