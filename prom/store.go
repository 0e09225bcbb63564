package prom

import (
	"context"
	"errors"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// Store returns a store that measures the calls of the given one, for the client and the worker of
// a service:
//
//   - It is a [task.TxStore] if the given store is one.
//   - It has a method Ping, for readiness probes, if the given store has one.
//   - It measures neither Wait nor Ping.
//   - Closing it closes the given store.
func (m *Metrics) Store(s task.Store) task.Store {
	measured := &measuredStore{Store: s, m: m}
	tx, inTx := s.(task.TxStore)
	ping, pings := s.(pinger)
	switch {
	case inTx && pings:
		return struct {
			*measuredTxStore
			pinger
		}{&measuredTxStore{measured, tx}, ping}
	case inTx:
		return &measuredTxStore{measured, tx}
	case pings:
		return struct {
			*measuredStore
			pinger
		}{measured, ping}
	}
	return measured
}

// pinger is a store that can check whether it accepts writes.
type pinger interface{ Ping(context.Context) error }

// measuredStore measures the calls of a store.
type measuredStore struct {
	task.Store
	m *Metrics
}

// call starts to measure a call. The function that it returns ends the measurement.
func (s *measuredStore) call(name string) func(error) {
	begin := time.Now()
	return func(err error) {
		s.m.calls.WithLabelValues(name).Observe(time.Since(begin).Seconds())
		if err != nil {
			s.m.callErrors.WithLabelValues(name).Inc()
		}
	}
}

// Add implements task.Store.
func (s *measuredStore) Add(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
	done := s.call("add")
	added, err := s.Store.Add(ctx, tasks)
	done(err)
	return added, err
}

// Claim implements task.Store.
func (s *measuredStore) Claim(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
	done := s.call("claim")
	tasks, err := s.Store.Claim(ctx, req)
	done(err)
	return tasks, err
}

// Apply implements task.Store.
func (s *measuredStore) Apply(ctx context.Context, changes []task.Change) []error {
	done := s.call("apply")
	errs := s.Store.Apply(ctx, changes)
	var failed error
	for i, err := range errs {
		s.applied(changes[i], err)
		if trouble(err) != nil {
			failed = err
		}
	}
	done(failed)
	return errs
}

// trouble returns err, or nil if err only says that a run was lost or had ended.
func trouble(err error) error {
	if errors.Is(err, task.ErrLeaseLost) || errors.Is(err, task.ErrAlreadyFinished) {
		return nil
	}
	return err
}

// applied counts the outcome of a change.
func (s *measuredStore) applied(c task.Change, err error) {
	switch {
	case errors.Is(err, task.ErrLeaseLost) && !c.Reclaimed:
		s.m.stale.Inc()
	case err != nil:
	case c.Crashed:
		s.m.crashes.Inc()
	case c.Status == task.StatusInterrupted, c.Reason == task.ReasonTurn:
		s.m.interruptions.WithLabelValues(string(c.Reason)).Inc()
	}
}

// Heartbeat implements task.Store.
func (s *measuredStore) Heartbeat(ctx context.Context, beat task.Beat) (task.BeatReply, error) {
	done := s.call("heartbeat")
	reply, err := s.Store.Heartbeat(ctx, beat)
	done(err)
	return reply, err
}

// Find implements task.Store.
func (s *measuredStore) Find(ctx context.Context, q task.Query) ([]task.Task, error) {
	done := s.call("find")
	tasks, err := s.Store.Find(ctx, q)
	done(err)
	return tasks, err
}

// Count implements task.Store.
func (s *measuredStore) Count(ctx context.Context, q task.CountQuery) (task.Counts, error) {
	done := s.call("count")
	counts, err := s.Store.Count(ctx, q)
	done(err)
	return counts, err
}

// Tick implements task.Store.
func (s *measuredStore) Tick(ctx context.Context, req task.TickRequest) ([]task.TickResult, error) {
	done := s.call("tick")
	results, err := s.Store.Tick(ctx, req)
	done(err)
	for i, r := range results {
		if t := req.Ticks[i]; r.Made && !t.At.IsZero() { // without At a person has requested it
			s.ticked(req.Set, t, r)
		}
	}
	return results, err
}

// ticked counts the outcome of a tick.
func (s *measuredStore) ticked(set string, t task.Tick, r task.TickResult) {
	switch {
	case r.Unfinished != "":
		s.m.ticks.WithLabelValues(set, "skipped").Inc()
	case len(t.Tasks) == 0:
		s.m.ticks.WithLabelValues(set, "left_out").Inc()
	default:
		s.m.ticks.WithLabelValues(set, "created").Add(float64(r.Added))
		s.m.late.WithLabelValues(set).Observe(max(0, time.Since(t.At).Seconds()))
	}
}

// measuredTxStore also measures the calls in transactions.
type measuredTxStore struct {
	*measuredStore
	tx task.TxStore
}

var _ task.TxStore = (*measuredTxStore)(nil)

// AddTx implements task.TxStore.
func (s *measuredTxStore) AddTx(ctx context.Context, tx task.Tx, tasks []task.NewTask) ([]task.AddResult, error) {
	done := s.call("add_tx")
	added, err := s.tx.AddTx(ctx, tx, tasks)
	done(err)
	return added, err
}

// FinishTx implements task.TxStore.
func (s *measuredTxStore) FinishTx(ctx context.Context, tx task.Tx, c task.Change) error {
	done := s.call("finish_tx")
	err := s.tx.FinishTx(ctx, tx, c)
	s.changed(err)
	done(trouble(err))
	return err
}

// SaveTx implements task.TxStore.
func (s *measuredTxStore) SaveTx(ctx context.Context, tx task.Tx, c task.Change) error {
	done := s.call("save_tx")
	err := s.tx.SaveTx(ctx, tx, c)
	s.changed(err)
	done(trouble(err))
	return err
}

// changed counts a change in a transaction that came too late. The outcome of other changes is
// known only when the transaction ends, which the store does not see.
func (s *measuredTxStore) changed(err error) {
	if errors.Is(err, task.ErrLeaseLost) {
		s.m.stale.Inc()
	}
}

// Wake implements task.TxStore.
func (s *measuredTxStore) Wake() { s.tx.Wake() }
