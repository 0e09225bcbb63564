package task_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func TestStep_WhatIsDoneIsRecordedAlsoWhenItsTimeIsOver(t *testing.T) {
	for name, end := range map[string]func(b *bench, id string) error{
		"a timeout":      func(*bench, string) error { return nil },
		"a cancellation": func(b *bench, id string) error { return b.client.Cancel(b.t.Context(), id) },
		"an interrupt":   func(b *bench, id string) error { return b.client.Interrupt(b.t.Context(), id) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(b *bench) {
				b.kind.Timeout = time.Minute
				called := 0
				b.handle = func(ctx context.Context, r *task.Run) error {
					_, err := task.Step(ctx, r, "charge", func(ctx context.Context) (int, error) {
						called++
						<-ctx.Done()
						return called, nil // it was paid for before that
					})
					if err == nil && r.Task().Runs == 1 {
						err = ctx.Err()
					}
					return err
				}
				id := b.enqueue()
				g := b.serve(b.store)
				time.Sleep(time.Second)
				if err := end(b, id); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				if got := b.steps(id); got != "charge:done" || called != 1 {
					t.Errorf("recorded %q, called %d times, task %+v", got, called, b.get(id))
				}
				b.stop(g, 0)
			})
		})
	}
}

func TestStep_AFirstRunAsksNothingAndALaterOneOnce(t *testing.T) {
	bubble(t, func(b *bench) {
		store := &asked{Store: b.store}
		p := &plan{names: []string{"a", "b", "c"}, failures: 1}
		b.handle = p.handle
		id := b.enqueue()
		g := b.serve(store)
		synctest.Wait()
		if n := store.steps.Load(); n != 0 {
			t.Errorf("a first run has asked %d times", n)
		}
		time.Sleep(10 * time.Minute)
		b.want(id, task.StatusSucceeded, "", 1, 0, 0)
		if n := store.steps.Load(); n != 1 {
			t.Errorf("two runs have asked %d times", n)
		}
		b.stop(g, 0)
	})
}

// asked counts the calls of Steps, of which the first ones may fail.
type asked struct {
	task.Store
	steps, failures atomic.Int32
}

func (a *asked) Steps(ctx context.Context, id string) ([]task.StepRecord, error) {
	a.steps.Add(1)
	if a.failures.Add(-1) >= 0 {
		return nil, errCut
	}
	return a.Store.Steps(ctx, id)
}

func TestStep_WaitsForAStoreThatIsAway(t *testing.T) {
	bubble(t, func(b *bench) {
		store := &asked{Store: b.store}
		store.failures.Store(5)
		p := &plan{names: []string{"a"}, failures: 1}
		b.handle = p.handle
		id := b.enqueue()
		g := b.serve(store)
		time.Sleep(10 * time.Minute)
		b.want(id, task.StatusSucceeded, "", 1, 0, 0)
		if n := store.steps.Load(); n != 6 || len(p.called) != 1 {
			t.Errorf("asked %d times, called %v", n, p.called)
		}
		b.stop(g, 0)
	})
}

// deafToSteps is a store whose answers to the first writes of steps are lost.
type deafToSteps struct {
	task.Store
	writes atomic.Int32
}

func (l *deafToSteps) Apply(ctx context.Context, changes []task.Change) []error {
	errs := l.Store.Apply(ctx, changes)
	if changes[0].Step != nil && l.writes.Add(1) < 4 {
		return []error{errCut}
	}
	return errs
}

func TestStep_ALostAnswerToItsWriteDoesNotCallItTwice(t *testing.T) {
	bubble(t, func(b *bench) {
		store := &deafToSteps{Store: b.store}
		p := &plan{names: []string{"a", "b"}}
		b.handle = p.handle
		id := b.enqueue()
		g := b.serve(store)
		time.Sleep(time.Minute)
		b.want(id, task.StatusSucceeded, "", 0, 0, 0)
		if n := store.writes.Load(); fmt.Sprint(p.called) != "[a b]" || n != 5 {
			t.Errorf("called %v, %d writes", p.called, n)
		}
		b.stop(g, 0)
	})
}

// losing is a store that has lost the records of some steps.
type losing struct {
	task.Store
	lost []string
}

func (l *losing) Steps(ctx context.Context, id string) ([]task.StepRecord, error) {
	all, err := l.Store.Steps(ctx, id)
	return slices.DeleteFunc(all, func(r task.StepRecord) bool { return slices.Contains(l.lost, r.Name) }), err
}

func TestStep_OneWhoseRecordTheStoreHasLostIsDoneAgainInItsPlace(t *testing.T) {
	for want, lost := range map[string][]string{
		"[a b c d b c b c]": {"b", "c"},
		"[a b c d a a]":     {"a"},
		"[a b c d d d]":     {"d"},
	} {
		t.Run(strings.Join(lost, " "), func(t *testing.T) {
			bubble(t, func(b *bench) {
				p := &plan{names: []string{"a", "b", "c", "d"}, failures: 2}
				b.handle = p.handle
				id := b.enqueue()
				g := b.serve(&losing{Store: b.store, lost: lost})
				time.Sleep(time.Hour)
				b.want(id, task.StatusSucceeded, "", 2, 0, 0)
				if got := b.steps(id); got != "a:done b:done c:done d:done" || fmt.Sprint(p.called) != want {
					t.Errorf("called %v, recorded %s", p.called, got)
				}
				b.stop(g, 0)
			})
		})
	}
}
