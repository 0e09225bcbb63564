package main

import (
	"context"
	"errors"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// meteredStore is a store whose calls are measured. What a Store waits for in Wait, and Ping, are not.
type meteredStore struct {
	task.Store
	m *metrics
}

// call measures one call, from its begin until the function that it returns is called.
func (s meteredStore) call(name string) func(error) {
	begin := time.Now()
	return func(err error) {
		s.m.store.WithLabelValues(name).Observe(time.Since(begin).Seconds())
		if err != nil {
			s.m.storeErrors.WithLabelValues(name).Inc()
		}
	}
}

// Add implements task.Store.
func (s meteredStore) Add(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
	done := s.call("add")
	added, err := s.Store.Add(ctx, tasks)
	done(err)
	return added, err
}

// Claim implements task.Store.
func (s meteredStore) Claim(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
	done := s.call("claim")
	tasks, err := s.Store.Claim(ctx, req)
	done(err)
	return tasks, err
}

// Apply implements task.Store.
func (s meteredStore) Apply(ctx context.Context, changes []task.Change) []error {
	done := s.call("apply")
	errs := s.Store.Apply(ctx, changes)
	var failed error
	for i, err := range errs {
		s.applied(changes[i], err)
		if err != nil && !errors.Is(err, task.ErrLeaseLost) && !errors.Is(err, task.ErrAlreadyFinished) {
			failed = err
		}
	}
	done(failed)
	return errs
}

// applied counts what became of a run.
func (s meteredStore) applied(c task.Change, err error) {
	switch {
	case errors.Is(err, task.ErrLeaseLost) && !c.Reclaimed:
		s.m.stale.Inc()
	case err != nil:
	case c.Crashed:
		s.m.crashes.Inc()
	case c.Status == task.StatusInterrupted:
		s.m.interruptions.WithLabelValues(string(c.Reason)).Inc()
	}
}

// Heartbeat implements task.Store.
func (s meteredStore) Heartbeat(ctx context.Context, beat task.Beat) (task.BeatReply, error) {
	done := s.call("heartbeat")
	reply, err := s.Store.Heartbeat(ctx, beat)
	done(err)
	return reply, err
}

// Find implements task.Store.
func (s meteredStore) Find(ctx context.Context, q task.Query) ([]task.Task, error) {
	done := s.call("find")
	tasks, err := s.Store.Find(ctx, q)
	done(err)
	return tasks, err
}

// Count implements task.Store.
func (s meteredStore) Count(ctx context.Context, q task.CountQuery) (task.Counts, error) {
	done := s.call("count")
	counts, err := s.Store.Count(ctx, q)
	done(err)
	return counts, err
}

// Ping reports whether the store takes writes, where it can tell: readiness asks for it.
func (s meteredStore) Ping(ctx context.Context) error {
	if pinger, ok := s.Store.(interface{ Ping(context.Context) error }); ok {
		return pinger.Ping(ctx)
	}
	return nil
}
