package storetest

import (
	"context"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// FaultyStore is a store whose calls can be made to go wrong, as they do when a network or a
// database is in trouble. It hides the store's optional methods, such as those of [task.TxStore].
type FaultyStore struct {
	task.Store
	// Plan is called at the beginning of every call but Close, with the method's name, and returns
	// what happens to the call. Many goroutines call it at once.
	Plan func(method string) Fault
}

// Fault is what happens to a call. The zero Fault is none.
type Fault struct {
	// Delay passes before the call does its work, and again before it answers. A call whose context
	// ends meanwhile returns the cause.
	Delay time.Duration
	// Before is returned by a call that does nothing.
	Before error
	// After is returned by a call that has done its work: its answer is lost.
	After error
}

// call makes a call with the fault that was planned for it.
func call[R any](ctx context.Context, f *FaultyStore, method string, do func() (R, error)) (R, error) {
	var none R
	plan := f.Plan(method)
	if err := plan.wait(ctx); err != nil {
		return none, err
	}
	if plan.Before != nil {
		return none, plan.Before
	}
	r, err := do()
	if err := plan.wait(ctx); err != nil {
		return none, err
	}
	if plan.After != nil {
		return none, plan.After
	}
	return r, err
}

func (p Fault) wait(ctx context.Context) error {
	if p.Delay <= 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(p.Delay):
		return nil
	}
}

// Add implements task.Store.
func (f *FaultyStore) Add(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
	return call(ctx, f, "Add", func() ([]task.AddResult, error) { return f.Store.Add(ctx, tasks) })
}

// Claim implements task.Store.
func (f *FaultyStore) Claim(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
	return call(ctx, f, "Claim", func() ([]task.Task, error) { return f.Store.Claim(ctx, req) })
}

// Apply implements task.Store. A fault is the result for every change.
func (f *FaultyStore) Apply(ctx context.Context, changes []task.Change) []error {
	errs, err := call(ctx, f, "Apply", func() ([]error, error) { return f.Store.Apply(ctx, changes), nil })
	if err == nil {
		return errs
	}
	errs = make([]error, len(changes))
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// Heartbeat implements task.Store.
func (f *FaultyStore) Heartbeat(ctx context.Context, b task.Beat) (task.BeatReply, error) {
	return call(ctx, f, "Heartbeat", func() (task.BeatReply, error) { return f.Store.Heartbeat(ctx, b) })
}

// Workers implements task.Store.
func (f *FaultyStore) Workers(ctx context.Context) ([]task.WorkerInfo, error) {
	return call(ctx, f, "Workers", func() ([]task.WorkerInfo, error) { return f.Store.Workers(ctx) })
}

// Reclaim implements task.Store.
func (f *FaultyStore) Reclaim(ctx context.Context, req task.ReclaimRequest) (task.ReclaimReply, error) {
	return call(ctx, f, "Reclaim", func() (task.ReclaimReply, error) { return f.Store.Reclaim(ctx, req) })
}

// Find implements task.Store.
func (f *FaultyStore) Find(ctx context.Context, q task.Query) ([]task.Task, error) {
	return call(ctx, f, "Find", func() ([]task.Task, error) { return f.Store.Find(ctx, q) })
}

// History implements task.Store.
func (f *FaultyStore) History(ctx context.Context, id string) ([]task.RunRecord, error) {
	return call(ctx, f, "History", func() ([]task.RunRecord, error) { return f.Store.History(ctx, id) })
}

// Steps implements task.Store.
func (f *FaultyStore) Steps(ctx context.Context, id string) ([]task.StepRecord, error) {
	return call(ctx, f, "Steps", func() ([]task.StepRecord, error) { return f.Store.Steps(ctx, id) })
}

// Log implements task.Store.
func (f *FaultyStore) Log(ctx context.Context, id string) ([]byte, error) {
	return call(ctx, f, "Log", func() ([]byte, error) { return f.Store.Log(ctx, id) })
}

// Control implements task.Store.
func (f *FaultyStore) Control(ctx context.Context, cmd task.Command) error {
	_, err := call(ctx, f, "Control", func() (struct{}, error) { return struct{}{}, f.Store.Control(ctx, cmd) })
	return err
}

// ControlAll implements task.Store. A fault is the result for every task.
func (f *FaultyStore) ControlAll(ctx context.Context, cmd task.Command, seen []task.Standing) []error {
	errs, err := call(ctx, f, "ControlAll", func() ([]error, error) { return f.Store.ControlAll(ctx, cmd, seen), nil })
	if err == nil {
		return errs
	}
	errs = make([]error, len(seen))
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// Commands implements task.Store.
func (f *FaultyStore) Commands(ctx context.Context, id string) ([]task.CommandRecord, error) {
	return call(ctx, f, "Commands", func() ([]task.CommandRecord, error) { return f.Store.Commands(ctx, id) })
}

// Count implements task.Store.
func (f *FaultyStore) Count(ctx context.Context, q task.CountQuery) (task.Counts, error) {
	return call(ctx, f, "Count", func() (task.Counts, error) { return f.Store.Count(ctx, q) })
}

// Prune implements task.Store.
func (f *FaultyStore) Prune(ctx context.Context, req task.PruneRequest) (task.PruneReply, error) {
	return call(ctx, f, "Prune", func() (task.PruneReply, error) { return f.Store.Prune(ctx, req) })
}

// PutSchedules implements task.Store.
func (f *FaultyStore) PutSchedules(ctx context.Context, put task.SchedulesPut) (task.ScheduleSet, error) {
	return call(ctx, f, "PutSchedules", func() (task.ScheduleSet, error) { return f.Store.PutSchedules(ctx, put) })
}

// Schedules implements task.Store.
func (f *FaultyStore) Schedules(ctx context.Context, q task.ScheduleQuery) ([]task.StoredSchedule, error) {
	return call(ctx, f, "Schedules", func() ([]task.StoredSchedule, error) { return f.Store.Schedules(ctx, q) })
}

// DueSchedules implements task.Store.
func (f *FaultyStore) DueSchedules(ctx context.Context, req task.DueRequest) (task.DueReply, error) {
	return call(ctx, f, "DueSchedules", func() (task.DueReply, error) { return f.Store.DueSchedules(ctx, req) })
}

// Tick implements task.Store.
func (f *FaultyStore) Tick(ctx context.Context, req task.TickRequest) ([]task.TickResult, error) {
	return call(ctx, f, "Tick", func() ([]task.TickResult, error) { return f.Store.Tick(ctx, req) })
}

// Wait implements task.Store.
func (f *FaultyStore) Wait(ctx context.Context, seen task.Generations) (task.Generations, error) {
	return call(ctx, f, "Wait", func() (task.Generations, error) { return f.Store.Wait(ctx, seen) })
}
