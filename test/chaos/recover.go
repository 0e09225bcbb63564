//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

const (
	stuckAfter = 45 * time.Second // without any change: what has not ended by then is stuck
	drainLimit = 5 * time.Minute
	lookEvery  = 500 * time.Millisecond
	// deadWithin is how long it may take until the rows of dead workers have been removed. The real
	// server has the default lease.
	deadWithin = 15*time.Second + 2*margin
)

// recover resumes every queue, pauses every schedule, and waits until every task has ended or
// nothing changes any more. The latter is not an error: the checker reports what has not ended.
// What recover does to the store's clock is recorded as the fault with the given number.
func (r *run) recover(ctx context.Context, number int) (err error) {
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	if err := r.allServe(ctx); err != nil {
		return err
	}
	if err := r.load.resumeAll(ctx, r.clients[0]); err != nil {
		return err
	}
	if err := r.pauseSchedules(ctx, r.clients[0]); err != nil {
		return err
	}
	end, err := r.catchUp(ctx, number)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	began, last, changed := time.Now(), -1, time.Now()
	for {
		looked := time.Now()
		state, err := r.inspect(ctx)
		if err != nil {
			return err
		}
		n, dead := unfinished(state), state.Residue["workers"] > int64(len(r.workers))
		if n != last {
			last, changed = n, time.Now()
		}
		if n == 0 && (!dead || time.Since(changed) > deadWithin) {
			fmt.Fprintf(r.out, "all %d tasks have ended, %v after the last fault\n", len(state.Tasks), changed.Sub(began).Round(100*time.Millisecond))
			return nil
		}
		stuck := n > 0 && min(time.Since(changed), r.progress.quiet()) > stuckAfter
		if stuck || !wire.Pause(ctx, max(lookEvery, time.Since(looked))) {
			fmt.Fprintf(r.out, "%d of %d tasks have not ended, and nothing happens any more\n", n, len(state.Tasks))
			return nil
		}
	}
}

// unfinished counts the tasks that have not ended. Drivers of other libraries translate their
// statuses to these.
func unfinished(s history.State) (n int) {
	for _, t := range s.Tasks {
		if !slices.Contains([]string{"succeeded", "failed", "cancelled"}, t.Status) {
			n++
		}
	}
	return n
}

// inspect asks the driver for the content of the store.
func (r *run) inspect(ctx context.Context) (s history.State, err error) {
	out, err := r.command(ctx, "inspect")
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(out, &s); err != nil {
		return s, fmt.Errorf("%s inspect prints no state: %w", r.opt.driver, err)
	}
	return s, nil
}

// setup creates the schema, and learns what the library can do.
func (r *run) setup(ctx context.Context) error {
	can, err := r.command(ctx, "setup")
	if err != nil {
		return err
	}
	return r.learn(can)
}

// command runs a command of the driver that ends by itself.
func (r *run) command(ctx context.Context, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var out, complaints bytes.Buffer
	cmd := exec.CommandContext(ctx, r.opt.driver, name)
	cmd.Env, cmd.Stdout, cmd.Stderr = r.environment(name, r.store.direct()), &out, &complaints
	err := r.launcher.start(cmd, killed)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", filepath.Base(r.opt.driver), name, err, &complaints)
	}
	return out.Bytes(), nil
}
