package task_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

func TestOnConflict_IsReadAsItIsWritten(t *testing.T) {
	for _, c := range []task.OnConflict{task.Existing, task.Replace, task.Discard} {
		if got, err := task.ParseOnConflict(c.String()); err != nil || got != c {
			t.Errorf("%v was read as %v, %v", c, got, err)
		}
	}
	if got, err := task.ParseOnConflict(""); err != nil || got != task.Existing {
		t.Errorf("nothing was read as %v, %v", got, err)
	}
	if _, err := task.ParseOnConflict("ignore"); !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), "existing, replace or discard") {
		t.Error(err)
	}
	for _, o := range []task.Outcome{task.OutcomeAdded, task.OutcomeExisting, task.OutcomeReplaced, task.OutcomeDiscarded} {
		text, err := o.MarshalText()
		var got task.Outcome
		if err == nil {
			err = got.UnmarshalText(text)
		}
		if err != nil || got != o || string(text) != o.String() {
			t.Errorf("%v is %s, and was read as %v, %v", o, text, got, err)
		}
	}
	if err := new(task.Outcome).UnmarshalText([]byte("done")); err == nil {
		t.Error("read an outcome that is none")
	}
	if _, err := task.Outcome(9).MarshalText(); err == nil || task.Outcome(9).String() != "Outcome(9)" || task.OnConflict(-1).String() != "OnConflict(-1)" {
		t.Errorf("%v", err)
	}
}

func TestEnqueue_WhatIsSaidOfAKeyNeedsOneAndIsChecked(t *testing.T) {
	c := task.NewClient(memstore.New())
	for why, opt := range map[string]*task.EnqueueOptions{
		"key for 1m0s needs a key":                       {KeyFor: time.Minute},
		"on conflict discard needs a key":                {OnConflict: task.Discard},
		"is negative":                                    {Key: "k", KeyFor: -1},
		"longer than a hundred years":                    {Key: "k", KeyFor: 1 << 62},
		"OnConflict(3) is none of Existing, Replace and": {Key: "k", OnConflict: 3},
	} {
		if _, err := c.Enqueue(t.Context(), "k", []byte("1"), opt); !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), why) {
			t.Errorf("%v, want ErrInvalid and %q", err, why)
		}
	}
}

// changing is the work of the patterns: the index of something is built again when it has changed.
type changing struct {
	kind   task.Kind[int]
	client *task.Client

	mu      sync.Mutex
	changes int             // what a run finds
	seen    []int           // what the runs have found
	at      []time.Duration // when they began
}

// debounce is the pattern in docs/tasks.md.
func (x *changing) debounce(ctx context.Context, what string, change int) error {
	opt := &task.EnqueueOptions{Key: what, OnConflict: task.Replace, Delay: 5 * time.Second}
	for {
		done, err := x.kind.Enqueue(ctx, x.client, change, opt)
		if err != nil || done.Outcome != task.OutcomeExisting {
			return err
		}
		opt.Key += "+" // it runs, and may have read before this change: another one follows
	}
}

// atMost is the pattern of a throttle in docs/tasks.md.
func (x *changing) atMost(ctx context.Context, what string, change int) (task.Outcome, error) {
	done, err := x.kind.Enqueue(ctx, x.client, change, &task.EnqueueOptions{Key: what, KeyFor: 10 * time.Minute, OnConflict: task.Discard})
	return done.Outcome, err
}

// indexing runs a test of a pattern. A run finds what has changed when it begins, and takes that
// long.
func indexing(t *testing.T, takes time.Duration, test func(b *bench, x *changing)) {
	t.Helper()
	bubble(t, func(b *bench) {
		x := &changing{kind: task.Kind[int]{Name: "index"}, client: b.client}
		began := time.Now()
		task.Handle(&b.mux, x.kind, func(ctx context.Context, _ *task.Run, _ int) error {
			x.mu.Lock()
			x.seen, x.at = append(x.seen, x.changes), append(x.at, time.Since(began).Round(time.Second))
			x.mu.Unlock()
			select {
			case <-time.After(takes):
			case <-ctx.Done():
			}
			return nil
		})
		g := b.serve(b.store)
		test(b, x)
		b.stop(g, 0)
	})
}

// found returns what runs have found, and when they began.
func (x *changing) found() (seen []int, at []time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.seen), slices.Clone(x.at)
}

// change is what happens from time to time. It returns how many times it has.
func (x *changing) change() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.changes++
	return x.changes
}

func TestDebounce_OneRunFollowsTheLastOfManyChanges(t *testing.T) {
	indexing(t, time.Second, func(b *bench, x *changing) {
		for range 20 { // 4 s apart
			if err := x.debounce(b.t.Context(), "customer 7", x.change()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(4 * time.Second)
		}
		time.Sleep(time.Minute)
		if seen, at := x.found(); !slices.Equal(seen, []int{20}) || !slices.Equal(at, []time.Duration{81 * time.Second}) {
			t.Errorf("runs found %v, at %v", seen, at)
		}
	})
}

func TestDebounce_AChangeDuringARunIsNotLost(t *testing.T) {
	indexing(t, time.Minute, func(b *bench, x *changing) {
		for n := range 40 { // one a second: runs of a minute go on meanwhile, and others wait
			if err := x.debounce(b.t.Context(), "customer 7", x.change()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if n%10 == 9 {
				time.Sleep(6 * time.Second) // it is quiet, so one begins
			}
		}
		time.Sleep(time.Hour)
		if seen, at := x.found(); !slices.Equal(seen, []int{10, 20, 30, 40}) {
			t.Errorf("runs found %v, at %v", seen, at)
		}
	})
}

func TestThrottle_OneRunInTenMinutesAndTheOthersAreSaidToBeDiscarded(t *testing.T) {
	indexing(t, time.Second, func(b *bench, x *changing) {
		outcomes := make(map[task.Outcome]int)
		for range 60 { // one a minute
			got, err := x.atMost(b.t.Context(), "customer 7", x.change())
			if err != nil {
				t.Fatal(err)
			}
			outcomes[got]++
			time.Sleep(time.Minute)
		}
		seen, at := x.found()
		if len(seen) != 6 || outcomes[task.OutcomeAdded] != 6 || outcomes[task.OutcomeDiscarded] != 54 {
			t.Errorf("runs found %v, at %v; outcomes %v", seen, at, outcomes)
		}
		for i := 1; i < len(at); i++ {
			if at[i]-at[i-1] < 10*time.Minute {
				t.Errorf("runs began at %v", at)
			}
		}
	})
}
