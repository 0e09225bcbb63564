//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// breakage is the rule of the checker that this process breaks on purpose, to test whether the
// checker reports it. It is empty, and nothing is broken, except in the tests of the checker.
type breakage string

// store returns the store with the breakage applied to it.
func (b breakage) store(s task.Store) task.Store {
	if b == "" {
		return s
	}
	x := &brokenStore{Store: s, breaks: b}
	if tx, ok := s.(task.TxStore); ok {
		return &brokenTxStore{brokenStore: x, tx: tx}
	}
	return x
}

// context returns the context for a handler. The breakage "overlap" needs one that never ends, so
// that the run overlaps with the next.
func (b breakage) context(ctx context.Context) context.Context {
	if b == "overlap" {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

// fence returns the fence that effects are reported with.
func (b breakage) fence(run int64) int64 {
	if b == "stale" {
		return run + 1
	}
	return run
}

// handOver returns the step that is handed over.
func (b breakage) handOver(at int) int {
	if b == "handover" {
		return max(at-1, 0)
	}
	return at
}

// times returns how often the last effect is written into the transaction that ends a task.
func (b breakage) times() int {
	if b == "once" {
		return 2
	}
	return 1
}

// begin is called when a worker starts. It may leak one descriptor, or more and more of them.
func (b breakage) begin() {
	leak := func() { _, _ = syscall.Open("/proc/self/exe", syscall.O_RDONLY|syscall.O_CLOEXEC, 0) }
	switch b {
	case "residue":
		leak()
	case "growth":
		go func() {
			for range time.Tick(50 * time.Millisecond) {
				leak()
			}
		}()
	}
}

// end is called when a worker has finished. It may continue for longer than any grace.
func (b breakage) end() {
	if b == "grace" {
		time.Sleep(time.Minute)
	}
}

// brokenStore is a store that breaks a rule.
type brokenStore struct {
	task.Store
	breaks breakage
	adds   atomic.Int64
	ticks  atomic.Int64
}

// Add drops a task of every third call, drops keys or times to start before, or reports an error
// for every third call after executing it.
func (s *brokenStore) Add(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
	third := s.adds.Add(1)%3 == 0
	switch {
	case s.breaks == "keys":
		tasks = slices.Clone(tasks)
		for i := range tasks {
			tasks[i].Key = ""
		}
	case s.breaks == "expired":
		tasks = slices.Clone(tasks)
		for i := range tasks {
			tasks[i].StartBefore = 0
		}
	case s.breaks == "ended" && third:
		last := len(tasks) - 1
		done, err := s.Store.Add(ctx, tasks[:last])
		return append(done, task.AddResult{ID: tasks[last].ID}), err
	case s.breaks == "invented" && third:
		if _, err := s.Store.Add(ctx, tasks); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: not today", task.ErrInvalid)
	}
	return s.Store.Add(ctx, tasks)
}

// Claim drops the checkpoints.
func (s *brokenStore) Claim(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
	got, err := s.Store.Claim(ctx, req)
	for i := range got {
		if s.breaks == "order" {
			got[i].Checkpoint = nil
		}
	}
	return got, err
}

// Apply counts interruptions as crashes, or counts one too many.
func (s *brokenStore) Apply(ctx context.Context, changes []task.Change) []error {
	changes = slices.Clone(changes)
	for i := range changes {
		c := &changes[i]
		switch {
		case s.breaks == "crashes" && c.Status == task.StatusInterrupted && !c.Crashed:
			c.Crashed, c.Reason = true, task.ReasonLost
			c.Counters.Crashes++
			c.Counters.Interruptions--
		case s.breaks == "counters" && c.Status != task.StatusRunning:
			c.Counters.Interruptions++
		}
	}
	return s.Store.Apply(ctx, changes)
}

// Heartbeat does not pass on the heartbeats of the first worker, which then seems dead to the
// others but not to itself.
func (s *brokenStore) Heartbeat(ctx context.Context, b task.Beat) (task.BeatReply, error) {
	silent := (s.breaks == "alive" || s.breaks == "overlap") && strings.HasPrefix(os.Getenv(wire.EnvName), "w1.")
	if silent && b.Seq > 1 && b.State == task.WorkerRunning {
		return task.BeatReply{}, nil
	}
	return s.Store.Heartbeat(ctx, b)
}

// Steps does not return the results of steps, or the positions of iterations.
func (s *brokenStore) Steps(ctx context.Context, id string) ([]task.StepRecord, error) {
	all, err := s.Store.Steps(ctx, id)
	return slices.DeleteFunc(all, func(r task.StepRecord) bool {
		return s.breaks == "steps" && r.State == task.StepDone || s.breaks == "each" && r.State == task.StepOpen
	}), err
}

// Tick makes every second tick without its tasks.
func (s *brokenStore) Tick(ctx context.Context, req task.TickRequest) ([]task.TickResult, error) {
	if s.breaks == "ticks" && s.ticks.Add(1)%2 == 0 {
		req.Ticks = slices.Clone(req.Ticks)
		for i := range req.Ticks {
			req.Ticks[i].Tasks = nil
		}
	}
	return s.Store.Tick(ctx, req)
}

// ControlAll does nothing, and says that it did.
func (s *brokenStore) ControlAll(ctx context.Context, cmd task.Command, seen []task.Standing) []error {
	if s.breaks == "all" {
		return make([]error, len(seen))
	}
	return s.Store.ControlAll(ctx, cmd, seen)
}

// Prune removes tasks as soon as they have ended.
func (s *brokenStore) Prune(ctx context.Context, req task.PruneRequest) (task.PruneReply, error) {
	if s.breaks == "kept" {
		req.Age = 0
	}
	return s.Store.Prune(ctx, req)
}

// Control ignores pauses.
func (s *brokenStore) Control(ctx context.Context, cmd task.Command) error {
	if s.breaks == "paused" && cmd.Verb == task.VerbPause {
		return nil
	}
	return s.Store.Control(ctx, cmd)
}

// brokenTxStore is a brokenStore that can work inside its caller's transaction. It breaks nothing
// there.
type brokenTxStore struct {
	*brokenStore
	tx task.TxStore
}

// AddTx implements task.TxStore.
func (s *brokenTxStore) AddTx(ctx context.Context, tx task.Tx, tasks []task.NewTask) ([]task.AddResult, error) {
	return s.tx.AddTx(ctx, tx, tasks)
}

// FinishTx implements task.TxStore.
func (s *brokenTxStore) FinishTx(ctx context.Context, tx task.Tx, c task.Change) error {
	return s.tx.FinishTx(ctx, tx, c)
}

// SaveTx implements task.TxStore.
func (s *brokenTxStore) SaveTx(ctx context.Context, tx task.Tx, c task.Change) error {
	return s.tx.SaveTx(ctx, tx, c)
}

// Wake implements task.TxStore.
func (s *brokenTxStore) Wake() { s.tx.Wake() }
