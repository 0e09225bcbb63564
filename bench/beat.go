package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// beatOf returns the median time of a heartbeat of a worker that has n runs.
func beatOf(n int) func() (figures, error) {
	return func() (figures, error) {
		return onPostgres(func(store task.Store, _ database) (figures, error) {
			timed := &timedStore{Store: store}
			g, err := running(timed, max(n/load, 10), handing(false))
			if err != nil {
				return nil, err
			}
			timed.beats.take()
			beats := max(5/load, 2)
			if err := within(time.Minute, func() bool { return timed.beats.count() >= beats }); err != nil {
				return nil, err
			}
			median := quantile(timed.beats.take(), 0.5)
			g.Stop(nil)
			if code := g.Wait().ExitCode(); code != 0 {
				return nil, fmt.Errorf("exit code %d", code)
			}
			return figures{duration: median}, nil
		})
	}
}

// times collects milliseconds from several goroutines.
type times struct {
	mu  sync.Mutex
	all []float64
}

func (t *times) add(took time.Duration) {
	t.mu.Lock()
	t.all = append(t.all, milliseconds(took))
	t.mu.Unlock()
}

func (t *times) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all)
}

// take returns the collected times and clears them.
func (t *times) take() []float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.all
	t.all = nil
	return all
}

// timedStore times the calls of a worker: its heartbeats (complete ones separately), the claims
// that found something, and the calls that end runs.
type timedStore struct {
	task.Store
	beats, complete, claims, ends times

	mu   sync.Mutex
	fail error // returned by the next claim
}

// failedCall is the time recorded for a call that returned an error. No bound admits it.
const failedCall = time.Hour

func elapsed(began time.Time, err error) time.Duration {
	if err != nil {
		return failedCall
	}
	return time.Since(began)
}

func (s *timedStore) Heartbeat(ctx context.Context, b task.Beat) (task.BeatReply, error) {
	began := time.Now()
	reply, err := s.Store.Heartbeat(ctx, b)
	if b.ListsAllRuns {
		s.complete.add(elapsed(began, err))
	} else {
		s.beats.add(elapsed(began, err))
	}
	return reply, err
}

func (s *timedStore) Claim(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
	s.mu.Lock()
	fail := s.fail
	s.fail = nil
	s.mu.Unlock()
	if fail != nil {
		return nil, fail
	}
	began := time.Now()
	got, err := s.Store.Claim(ctx, req)
	if err != nil || len(got) > 0 {
		s.claims.add(elapsed(began, err))
	}
	return got, err
}

func (s *timedStore) Apply(ctx context.Context, changes []task.Change) []error {
	began := time.Now()
	errs := s.Store.Apply(ctx, changes)
	if len(changes) > 0 && changes[0].Status != task.StatusRunning {
		s.ends.add(elapsed(began, errors.Join(errs...)))
	}
	return errs
}

// failClaim makes the next claim fail. The worker then sends a complete heartbeat to learn which
// runs it has.
func (s *timedStore) failClaim(err error) {
	s.mu.Lock()
	s.fail = err
	s.mu.Unlock()
}
