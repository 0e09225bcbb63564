package prom

import (
	"context"
	"errors"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// Store returns a store whose calls are measured, for the client and the worker of a service. It is
// a [task.TxStore] where the other is one, and has its method Ping where it has one, for which
// readiness asks. What is waited for in Wait is not measured, nor is Ping; closing it closes the
// other.
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

// pinger is a store that can tell whether it takes writes.
type pinger interface{ Ping(context.Context) error }

// measuredStore measures the calls of a store.
type measuredStore struct {
	task.Store
	m *Metrics
}

// call measures one call, from its begin until the function that it returns is called.
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

// trouble is an error that is no answer about a run.
func trouble(err error) error {
	if errors.Is(err, task.ErrLeaseLost) || errors.Is(err, task.ErrAlreadyFinished) {
		return nil
	}
	return err
}

// applied counts what became of a run.
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

// measuredTxStore measures what is done in transactions too.
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

// changed counts a change in a transaction that came too late. What became of others is known when
// the transaction ends, which is not seen here.
func (s *measuredTxStore) changed(err error) {
	if errors.Is(err, task.ErrLeaseLost) {
		s.m.stale.Inc()
	}
}

// Wake implements task.TxStore.
func (s *measuredTxStore) Wake() { s.tx.Wake() }
