package task_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// row is an item, and mark a cursor that is not a number.
type row struct{ N int }

type mark struct {
	Page int
	Last string
}

// rows is a source of n rows that records from where it was asked.
func rows(n int, asked *[]string) func(context.Context, *mark, func(mark, row) bool) error {
	return func(_ context.Context, after *mark, yield func(mark, row) bool) error {
		from := 0
		if after != nil {
			from = after.Page
		}
		*asked = append(*asked, fmt.Sprintf("%+v", after))
		for i := from; i < n; i++ {
			if !yield(mark{i + 1, fmt.Sprint("row ", i)}, row{i}) {
				return nil
			}
		}
		return nil
	}
}

// upTo are the numbers below n.
func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func TestEach_DoesEveryItemOnceInTheirOrder(t *testing.T) {
	bubble(t, func(b *bench) {
		var done []int
		var asked []string
		b.handle = func(ctx context.Context, r *task.Run) error {
			return task.Each(ctx, r, "rows", rows(5, &asked), func(_ context.Context, x row) error { done = append(done, x.N); return nil })
		}
		id := b.enqueue()
		g := b.serve(b.store)
		b.want(id, task.StatusSucceeded, "", 0, 0, 0)
		if !slices.Equal(done, upTo(5)) || b.steps(id) != "rows:done" {
			t.Errorf("done %v, recorded %q", done, b.steps(id))
		}
		b.stop(g, 0)
	})
}

func TestEach_AtLastCallItHandsOverBehindTheItem(t *testing.T) {
	bubble(t, func(b *bench) {
		var done []int
		var asked []string
		b.handle = func(ctx context.Context, r *task.Run) error {
			return task.Each(ctx, r, "rows", rows(5, &asked), func(_ context.Context, x row) error {
				time.Sleep(400 * time.Millisecond)
				done = append(done, x.N)
				return nil
			})
		}
		id := b.enqueue()
		g := b.serve(b.store)
		time.Sleep(500 * time.Millisecond)
		b.stop(g, 0)
		if got := b.want(id, task.StatusInterrupted, task.ReasonStop, 0, 1, 0); got.Error != "" || !slices.Equal(done, upTo(2)) || b.steps(id) != "rows:open" {
			t.Errorf("error %q, done %v, recorded %q", got.Error, done, b.steps(id))
		}
		g = b.serve(b.store)
		time.Sleep(time.Minute)
		b.want(id, task.StatusSucceeded, "", 0, 1, 0)
		if !slices.Equal(done, upTo(5)) || len(asked) != 2 || asked[1] != "&{Page:2 Last:row 1}" {
			t.Errorf("done %v, asked %v", done, asked)
		}
		b.stop(g, 0)
	})
}

func TestEach_WhateverEndsItNoItemIsLeftOutOrDoneTwice(t *testing.T) {
	const n, at = 6, 3
	for name, fail := range map[string]func(ctx context.Context) error{
		"an error":       func(context.Context) error { return errors.New("oh") },
		"a panic":        func(context.Context) error { panic("oh") },
		"a timeout":      func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"a snooze":       func(context.Context) error { return task.Snooze(time.Second) },
		"a lost process": func(context.Context) error { return task.Crashed(errors.New("killed")) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(b *bench) {
				b.kind.Timeout = time.Minute
				var done []int
				b.handle = func(ctx context.Context, r *task.Run) error {
					return task.EachOf(ctx, r, "rows", upTo(n), func(ctx context.Context, i int) error {
						if r.Task().Runs == 1 && i == at {
							return fail(ctx)
						}
						done = append(done, i)
						return nil
					})
				}
				id := b.enqueue()
				g := b.serve(b.store)
				time.Sleep(10 * time.Minute)
				if got := b.get(id); got.Status != task.StatusSucceeded || got.Runs != 2 || !slices.Equal(done, upTo(n)) {
					t.Errorf("%s after %d runs (%s), done %v", got.Status, got.Runs, got.Error, done)
				}
				b.stop(g, 0)
			})
		})
	}
}

func TestEach_AnInterruptedItemIsDoneAgain(t *testing.T) {
	bubble(t, func(b *bench) {
		var done []int
		b.handle = func(ctx context.Context, r *task.Run) error {
			return task.EachOf(ctx, r, "rows", upTo(4), func(ctx context.Context, i int) error {
				if r.Task().Runs == 1 && i == 2 {
					<-ctx.Done()
					return ctx.Err()
				}
				done = append(done, i)
				return nil
			})
		}
		id := b.enqueue()
		g := b.serve(b.store)
		synctest.Wait()
		b.stop(g, 0)
		b.want(id, task.StatusInterrupted, task.ReasonStop, 0, 1, 0)
		if !slices.Equal(done, upTo(2)) {
			t.Errorf("done %v", done)
		}
		g = b.serve(b.store)
		time.Sleep(time.Minute)
		b.want(id, task.StatusSucceeded, "", 0, 1, 0)
		if !slices.Equal(done, upTo(4)) {
			t.Errorf("done %v", done)
		}
		b.stop(g, 0)
	})
}

// writes counts the writes of steps.
type writes struct {
	task.Store
	n    int
	fail error // once, instead of the second
}

func (w *writes) Apply(ctx context.Context, changes []task.Change) []error {
	if changes[0].Step != nil {
		if w.n++; w.n == 2 && w.fail != nil {
			err := w.fail
			w.fail = nil
			return []error{err}
		}
	}
	return w.Store.Apply(ctx, changes)
}

func TestEach_WritesOnceASecondOrAsOftenAsItIsTold(t *testing.T) {
	for _, c := range []struct {
		opts []task.StepOption
		want int
	}{
		{nil, 11}, // 100 items in 10 s, and the end
		{[]task.StepOption{task.SaveEvery(0)}, 101},
		{[]task.StepOption{task.SaveEvery(3 * time.Second)}, 4},
	} {
		bubble(t, func(b *bench) {
			store := &writes{Store: b.store}
			b.handle = func(ctx context.Context, r *task.Run) error {
				return task.EachOf(ctx, r, "rows", upTo(100), func(context.Context, int) error { time.Sleep(100 * time.Millisecond); return nil }, c.opts...)
			}
			id := b.enqueue()
			g := b.serve(store)
			time.Sleep(time.Minute)
			b.want(id, task.StatusSucceeded, "", 0, 0, 0)
			if store.n != c.want {
				t.Errorf("%d writes, want %d", store.n, c.want)
			}
			b.stop(g, 0)
		})
	}
}

func TestEach_SaysHowFarItIsWhereItKnowsTheLength(t *testing.T) {
	bubble(t, func(b *bench) {
		b.handle = func(ctx context.Context, r *task.Run) error {
			return task.EachOf(ctx, r, "rows", upTo(40), func(context.Context, int) error { time.Sleep(time.Second); return nil })
		}
		id := b.enqueue()
		g := b.serve(b.store)
		time.Sleep(10*time.Second + time.Millisecond)
		if got := b.want(id, task.StatusRunning, "", 0, 0, 0).Progress; got != (task.Progress{Fraction: 0.25, Message: "rows 10 of 40"}) {
			t.Errorf("%+v", got)
		}
		b.stop(g, 0)
		g = b.serve(b.store)
		time.Sleep(time.Minute)
		if got := b.want(id, task.StatusSucceeded, "", 0, 1, 0).Progress; got != (task.Progress{Fraction: 1, Message: "rows 40 of 40"}) {
			t.Errorf("%+v", got)
		}
		b.stop(g, 0)
	})
}

func TestEach_ASourceThatFailsHalfWayGoesOnThere(t *testing.T) {
	bubble(t, func(b *bench) {
		var done []int
		b.handle = func(ctx context.Context, r *task.Run) error {
			source := func(_ context.Context, after *int, yield func(int, int) bool) error {
				from := 0
				if after != nil {
					from = *after
				}
				for i := from; i < 5; i++ {
					if r.Task().Runs == 1 && i == 3 {
						return errors.New("connection reset")
					}
					if !yield(i+1, i) {
						return nil
					}
				}
				return nil
			}
			return task.Each(ctx, r, "rows", source, func(_ context.Context, i int) error { done = append(done, i); return nil })
		}
		id := b.enqueue()
		g := b.serve(b.store)
		if got := b.want(id, task.StatusQueued, "", 1, 0, 0); got.Error != "step rows: connection reset" {
			t.Errorf("%q", got.Error)
		}
		time.Sleep(10 * time.Minute)
		b.want(id, task.StatusSucceeded, "", 1, 0, 0)
		if !slices.Equal(done, upTo(5)) {
			t.Errorf("done %v", done)
		}
		b.stop(g, 0)
	})
}

func TestEach_ASourceThatHidesTheEndOfTheContextIsNotTakenForItsEnd(t *testing.T) {
	bubble(t, func(b *bench) {
		var done []int
		b.handle = func(ctx context.Context, r *task.Run) error {
			source := func(ctx context.Context, after *int, yield func(int, int) bool) error {
				from := 0
				if after != nil {
					from = *after
				}
				for i := from; i < 5; i++ {
					if r.Task().Runs == 1 && i == 3 {
						<-ctx.Done()
						return nil // like a loop over rows that ignores their error
					}
					if !yield(i+1, i) {
						return nil
					}
				}
				return nil
			}
			return task.Each(ctx, r, "rows", source, func(_ context.Context, i int) error { done = append(done, i); return nil })
		}
		id := b.enqueue()
		g := b.serve(b.store)
		synctest.Wait()
		b.stop(g, 0)
		b.want(id, task.StatusInterrupted, task.ReasonStop, 0, 1, 0)
		g = b.serve(b.store)
		time.Sleep(10 * time.Minute)
		b.want(id, task.StatusSucceeded, "", 0, 1, 0)
		if !slices.Equal(done, upTo(5)) {
			t.Errorf("done %v", done)
		}
		b.stop(g, 0)
	})
}

func TestEach_ASourceThatGoesOnAfterFalseIsNotHeard(t *testing.T) {
	bubble(t, func(b *bench) {
		called := 0
		b.handle = func(ctx context.Context, r *task.Run) error {
			source := func(_ context.Context, _ *int, yield func(int, int) bool) error {
				for i := range 5 {
					_ = yield(i+1, i)
				}
				return nil
			}
			return task.Each(ctx, r, "rows", source, func(context.Context, int) error { called++; return errors.New("oh") })
		}
		id := b.enqueue()
		g := b.serve(b.store)
		if got := b.want(id, task.StatusQueued, "", 1, 0, 0); got.Error != "step rows: oh" || called != 1 {
			t.Errorf("%q, called %d times", got.Error, called)
		}
		b.stop(g, 0)
	})
}

func TestEach_AWriteThatIsNotMadeEndsIt(t *testing.T) {
	bubble(t, func(b *bench) {
		store := &writes{Store: b.store, fail: fmt.Errorf("%w: no", task.ErrInvalid)}
		var done []int
		b.handle = func(ctx context.Context, r *task.Run) error {
			return task.EachOf(ctx, r, "rows", upTo(5), func(_ context.Context, i int) error { done = append(done, i); return nil }, task.SaveEvery(0))
		}
		id := b.enqueue()
		g := b.serve(store)
		time.Sleep(10 * time.Minute)
		b.want(id, task.StatusSucceeded, "", 1, 0, 0)
		if !slices.Equal(done, upTo(5)) { // what was not written at once was written at the end
			t.Errorf("done %v", done)
		}
		b.stop(g, 0)
	})
}

func TestEach_IsNoStepAndNoStepIsOne(t *testing.T) {
	for name, c := range map[string]struct {
		first, then func(ctx context.Context, r *task.Run) error
		want        string
	}{
		"a done Step as Each": {stepX, eachX, "is one of Step there, and of Each here"},
		"a done Each as Step": {eachX, stepX, "is one of Each there, and of Step here"},
		"an open Each as Step": {func(ctx context.Context, r *task.Run) error {
			return task.EachOf(ctx, r, "x", upTo(3), func(_ context.Context, i int) error {
				if i == 1 {
					return errors.New("oh")
				}
				return nil
			})
		}, stepX, "is one of Each there, and of Step here"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(b *bench) {
				b.handle = func(ctx context.Context, r *task.Run) error {
					if r.Task().Runs == 1 {
						_ = c.first(ctx, r)
						return errors.New("again")
					}
					return c.then(ctx, r)
				}
				id := b.enqueue()
				g := b.serve(b.store)
				time.Sleep(time.Minute + time.Second)
				if got := b.want(id, task.StatusQueued, "", 2, 0, 0); !strings.Contains(got.Error, c.want) {
					t.Errorf("%q", got.Error)
				}
				b.stop(g, 0)
			})
		})
	}
}

func stepX(ctx context.Context, r *task.Run) error {
	_, err := task.Step(ctx, r, "x", one)
	return err
}

func eachX(ctx context.Context, r *task.Run) error {
	return task.EachOf(ctx, r, "x", upTo(3), func(context.Context, int) error { return nil })
}

func TestEach_ACursorThatMovesEndsTheStreaks(t *testing.T) {
	bubble(t, func(b *bench) {
		b.handle = func(ctx context.Context, r *task.Run) error {
			return task.EachOf(ctx, r, "rows", upTo(9), func(_ context.Context, i int) error {
				if i >= r.Task().Runs && i < 8 { // one item for each run, more often than MaxCrashes allows
					return task.Crashed(errors.New("killed"))
				}
				return nil
			})
		}
		id := b.enqueue()
		g := b.serve(b.store)
		time.Sleep(10 * time.Minute)
		b.want(id, task.StatusSucceeded, "", 0, 0, 7)
		b.stop(g, 0)
	})
}

func TestEach_OfNothingIsDone(t *testing.T) {
	bubble(t, func(b *bench) {
		b.handle = func(ctx context.Context, r *task.Run) error {
			return task.EachOf(ctx, r, "rows", nil, func(context.Context, int) error { return errors.New("an item") })
		}
		id := b.enqueue()
		g := b.serve(b.store)
		b.want(id, task.StatusSucceeded, "", 0, 0, 0)
		if b.steps(id) != "rows:done" {
			t.Errorf("recorded %q", b.steps(id))
		}
		b.stop(g, 0)
	})
}
