package task_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// manifest is the result of a step.
type manifest struct {
	Files []string
	Size  int64
}

// steps lists what is recorded of a task's steps, as name:state.
func (b *bench) steps(id string) string {
	b.t.Helper()
	all, err := b.client.Steps(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	var list []string
	for _, s := range all {
		list = append(list, s.Name+":"+string(s.State))
	}
	return strings.Join(list, " ")
}

// plan is a handler that has steps whose results are their numbers, and fails behind the last one as
// long as there are failures.
type plan struct {
	names    []string
	failures int
	called   []string
}

func (p *plan) handle(ctx context.Context, r *task.Run) error {
	for i, name := range p.names {
		got, err := task.Step(ctx, r, name, func(context.Context) (int, error) {
			p.called = append(p.called, name)
			return i + 1, nil
		})
		if err != nil {
			return err
		}
		if got != i+1 {
			return task.Permanent(fmt.Errorf("step %s has the result %d", name, got))
		}
	}
	if p.failures--; p.failures >= 0 {
		return errors.New("after the steps")
	}
	return nil
}

func TestStep_IsCalledOnceAndItsResultComesBackAsItWas(t *testing.T) {
	bubble(t, func(b *bench) {
		called, runs := 0, 0
		want := manifest{Files: []string{"a", "b"}, Size: 1 << 60}
		b.handle = func(ctx context.Context, r *task.Run) error {
			runs++
			got, err := task.Step(ctx, r, "pull", func(context.Context) (manifest, error) {
				called++
				return want, nil
			})
			if err != nil {
				return err
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				return task.Permanent(fmt.Errorf("%+v", got))
			}
			if runs < 3 {
				return errors.New("not yet")
			}
			return nil
		}
		id := b.enqueue()
		g := b.serve(b.store)
		time.Sleep(10 * time.Minute)
		b.want(id, task.StatusSucceeded, "", 2, 0, 0)
		if called != 1 || runs != 3 || b.steps(id) != "pull:done" {
			t.Errorf("called %d times in %d runs, recorded %q", called, runs, b.steps(id))
		}
		b.stop(g, 0)
	})
}

func TestStep_ARecordHasItsPlaceItsRunAndTheVersionOfTheProgram(t *testing.T) {
	bubble(t, func(b *bench) {
		p := &plan{names: []string{"b", "a"}}
		b.handle = p.handle
		id := b.enqueue()
		g := b.serveVersion(b.store, "v1.2.3")
		got := b.want(id, task.StatusSucceeded, "", 0, 0, 0)
		all, err := b.client.Steps(t.Context(), id)
		if err != nil || len(all) != 2 {
			t.Fatalf("%+v, %v", all, err)
		}
		for i, s := range all {
			if s.Name != p.names[i] || s.Place != i+1 || s.Version != "v1.2.3" || s.Run != got.Run || string(s.Body) != fmt.Sprint(i+1) || s.Saved.IsZero() {
				t.Errorf("%+v", s)
			}
		}
		b.stop(g, 0)
	})
}

func TestStep_AnErrorRecordsNothingAndHasTheName(t *testing.T) {
	bubble(t, func(b *bench) {
		tries := 0
		b.handle = func(ctx context.Context, r *task.Run) error {
			for {
				_, err := task.Step(ctx, r, "pull", func(context.Context) (int, error) {
					if tries++; tries < 3 {
						return 0, errors.New("no route to host")
					}
					return 7, nil
				})
				if err == nil || tries == 1 {
					return err
				}
			}
		}
		id := b.enqueue()
		g := b.serve(b.store)
		synctest.Wait()
		if got := b.get(id); got.Error != "step pull: no route to host" || b.steps(id) != "" {
			t.Errorf("%q, recorded %q", got.Error, b.steps(id))
		}
		time.Sleep(10 * time.Minute)
		b.want(id, task.StatusSucceeded, "", 1, 0, 0)
		if tries != 3 {
			t.Errorf("%d tries, want one of the first run and two of the second", tries)
		}
		b.stop(g, 0)
	})
}

func TestStep_AnErrorMeansWhatItMeansElsewhere(t *testing.T) {
	bubble(t, func(b *bench) {
		b.handle = func(ctx context.Context, r *task.Run) error {
			_, err := task.Step(ctx, r, "charge", func(context.Context) (int, error) {
				if r.Task().Runs == 1 {
					return 0, task.Snooze(time.Minute)
				}
				return 0, task.Permanent(errors.New("card refused"))
			})
			return err
		}
		id := b.enqueue()
		g := b.serve(b.store)
		b.want(id, task.StatusQueued, "", 0, 0, 0)
		time.Sleep(2 * time.Minute)
		if got := b.want(id, task.StatusFailed, "", 1, 0, 0); got.Error != "step charge: card refused" {
			t.Errorf("%q", got.Error)
		}
		b.stop(g, 0)
	})
}

func TestStep_AProgramThatHasChangedIsToldWhichStepAndWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		then []string
		want []string
	}{
		"a new step before a recorded one": {[]string{"a", "x", "b"}, []string{"step x comes here where step b is recorded (by version v1)", `FormerNames("b")`, "step x skipped"}},
		"a step that is gone":              {[]string{"b"}, []string{"step b comes here before step a, and came behind it", "v1"}},
		"two steps the other way round":    {[]string{"b", "a"}, []string{"step b comes here before step a"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(b *bench) {
				p := &plan{names: []string{"a", "b"}, failures: 1}
				b.handle = p.handle
				id := b.enqueue()
				g := b.serveVersion(b.store, "v1")
				b.want(id, task.StatusQueued, "", 1, 0, 0)
				b.stop(g, 0)
				p.names = c.then
				g = b.serveVersion(b.store, "v2")
				time.Sleep(time.Minute + time.Second)
				got := b.want(id, task.StatusQueued, "", 2, 0, 0)
				for _, w := range append(c.want, task.ErrSteps.Error()) {
					if !strings.Contains(got.Error, w) {
						t.Errorf("error %q, want %q in it", got.Error, w)
					}
				}
				if wait := time.Until(got.RunAt); wait < time.Minute-2*time.Second {
					t.Errorf("the next attempt comes in %v: the version that knows the steps is given no time", wait)
				}
				if b.steps(id) != "a:done b:done" {
					t.Errorf("recorded %q", b.steps(id))
				}
				b.stop(g, 0)
			})
		})
	}
}

func TestStep_NewStepsFollowThoseThatAreRecorded(t *testing.T) {
	bubble(t, func(b *bench) {
		p := &plan{names: []string{"a", "b"}, failures: 1}
		b.handle = p.handle
		id := b.enqueue()
		g := b.serve(b.store)
		b.want(id, task.StatusQueued, "", 1, 0, 0)
		b.stop(g, 0)
		p.names = []string{"a", "b", "c"}
		g = b.serve(b.store)
		time.Sleep(10 * time.Minute)
		b.want(id, task.StatusSucceeded, "", 1, 0, 0)
		if got := fmt.Sprint(p.called); got != "[a b c]" || b.steps(id) != "a:done b:done c:done" {
			t.Errorf("called %s, recorded %q", got, b.steps(id))
		}
		b.stop(g, 0)
	})
}

func TestStep_AFormerNameIsItsOwn(t *testing.T) {
	bubble(t, func(b *bench) {
		called := 0
		do := func(context.Context) (int, error) { called++; return called, nil }
		b.handle = func(ctx context.Context, r *task.Run) error {
			if r.Task().Runs == 1 {
				_, err := task.Step(ctx, r, "old", do)
				return errors.Join(err, errors.New("again"))
			}
			got, err := task.Step(ctx, r, "new", do, task.FormerNames("older", "old"))
			if err == nil && got != 1 {
				err = task.Permanent(fmt.Errorf("result %d", got))
			}
			return err
		}
		id := b.enqueue()
		g := b.serve(b.store)
		time.Sleep(10 * time.Minute)
		b.want(id, task.StatusSucceeded, "", 1, 0, 0)
		if called != 1 || b.steps(id) != "old:done" {
			t.Errorf("called %d times, recorded %q", called, b.steps(id))
		}
		b.stop(g, 0)
	})
}

func TestStep_WhatCannotBeReadSaysSo(t *testing.T) {
	bubble(t, func(b *bench) {
		b.handle = func(ctx context.Context, r *task.Run) error {
			if r.Task().Runs == 1 {
				_, err := task.Step(ctx, r, "pull", func(context.Context) (string, error) { return "text", nil })
				return errors.Join(err, errors.New("again"))
			}
			_, err := task.Step(ctx, r, "pull", func(context.Context) (int, error) { return 0, nil })
			return err
		}
		id := b.enqueue()
		g := b.serveVersion(b.store, "v7")
		time.Sleep(time.Minute + time.Second)
		got := b.want(id, task.StatusQueued, "", 2, 0, 0)
		if !strings.Contains(got.Error, "step pull, as it is recorded (by version v7), has a result that this program cannot read") {
			t.Errorf("%q", got.Error)
		}
		b.stop(g, 0)
	})
}

// misuse has a handler do something once, and returns the error's text.
func misuse(t *testing.T, do func(ctx context.Context, r *task.Run) error) (text string) {
	t.Helper()
	bubble(t, func(b *bench) {
		b.handle = func(ctx context.Context, r *task.Run) error {
			err := do(ctx, r)
			if !errors.Is(err, task.ErrInvalid) {
				t.Errorf("%v, want ErrInvalid", err)
			}
			return err
		}
		id := b.enqueue()
		g := b.serve(b.store)
		text = b.want(id, task.StatusQueued, "", 1, 0, 0).Error
		b.stop(g, 0)
	})
	return text
}

func one(context.Context) (int, error) { return 1, nil }

func TestStep_WhatNoHandlerMayDoIsRefused(t *testing.T) {
	for want, do := range map[string]func(ctx context.Context, r *task.Run) error{
		"step a comes twice in this run": func(ctx context.Context, r *task.Run) error {
			_, err := task.Step(ctx, r, "a", one)
			_, err2 := task.Step(ctx, r, "a", one)
			return errors.Join(err, err2)
		},
		"step b begins while step a is under way": func(ctx context.Context, r *task.Run) error {
			_, err := task.Step(ctx, r, "a", func(ctx context.Context) (int, error) { return task.Step(ctx, r, "b", one) })
			return err
		},
		"step c begins while step a is under way": func(ctx context.Context, r *task.Run) error {
			in, out := make(chan bool), make(chan error)
			go func() {
				<-in
				_, err := task.Step(ctx, r, "c", one)
				out <- err
			}()
			_, err := task.Step(ctx, r, "a", func(context.Context) (int, error) { close(in); return 0, <-out })
			return err
		},
		"step b begins although step a has not been done": func(ctx context.Context, r *task.Run) error {
			_, _ = task.Step(ctx, r, "a", func(context.Context) (int, error) { return 0, errors.New("oh") })
			_, err := task.Step(ctx, r, "b", one)
			return err
		},
		"step d begins although step a has not been done": func(ctx context.Context, r *task.Run) error {
			_ = task.EachOf(ctx, r, "a", []int{1, 2}, func(context.Context, int) error { return errors.New("oh") })
			_, err := task.Step(ctx, r, "d", one)
			return err
		},
		"step p begins although step a has not been done": func(ctx context.Context, r *task.Run) error {
			func() {
				defer func() { _ = recover() }()
				_, _ = task.Step(ctx, r, "a", func(context.Context) (int, error) { panic("oh") })
			}()
			_, err := task.Step(ctx, r, "p", one)
			return err
		},
		`step "" must have 1 to 100 characters`: func(ctx context.Context, r *task.Run) error {
			_, err := task.Step(ctx, r, "", one)
			return err
		},
		`step "an old name" may have only`: func(ctx context.Context, r *task.Run) error {
			_, err := task.Step(ctx, r, "a", one, task.FormerNames("an old name"))
			return err
		},
		"step a: Length and SaveEvery are for Each": func(ctx context.Context, r *task.Run) error {
			_, err := task.Step(ctx, r, "a", one, task.Length(3))
			return err
		},
		"the task has 1000 steps already": func(ctx context.Context, r *task.Run) error {
			for n := range task.MaxSteps {
				if _, err := task.Step(ctx, r, fmt.Sprint("call-", n), one); err != nil {
					return errors.New("too early")
				}
			}
			_, err := task.Step(ctx, r, "more", one)
			return err
		},
		"at most 16777216 are kept": func(ctx context.Context, r *task.Run) error {
			for n := range 17 {
				_, err := task.Step(ctx, r, fmt.Sprint("large-", n), func(context.Context) (string, error) { return strings.Repeat("x", 1<<20-2), nil })
				if err != nil {
					return err
				}
			}
			return nil
		},
	} {
		if text := misuse(t, do); !strings.Contains(text, want) {
			t.Errorf("%q, want %q in it", text, want)
		}
	}
}

func TestStep_AfterLastCallNoStepBegins(t *testing.T) {
	bubble(t, func(b *bench) {
		called := 0
		b.handle = func(ctx context.Context, r *task.Run) error {
			for _, name := range []string{"a", "b"} {
				if _, err := task.Step(ctx, r, name, func(context.Context) (int, error) {
					time.Sleep(5 * time.Second)
					called++
					return called, nil
				}); err != nil {
					return err
				}
			}
			return nil
		}
		id := b.enqueue()
		g := b.serve(b.store)
		time.Sleep(time.Second)
		began := time.Now()
		b.stop(g, 0)
		got := b.want(id, task.StatusInterrupted, task.ReasonStop, 0, 1, 0)
		if time.Since(began) != 4*time.Second || called != 1 || got.Error != "" || b.steps(id) != "a:done" {
			t.Errorf("the stop took %v, called %d, error %q, recorded %q", time.Since(began), called, got.Error, b.steps(id))
		}
		g = b.serve(b.store)
		time.Sleep(time.Minute)
		b.want(id, task.StatusSucceeded, "", 0, 1, 0)
		if called != 2 {
			t.Errorf("called %d times", called)
		}
		b.stop(g, 0)
	})
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

func TestStep_IsProgressAsACheckpointIs(t *testing.T) {
	bubble(t, func(b *bench) {
		b.handle = func(ctx context.Context, r *task.Run) error {
			for n := range r.Task().Runs {
				if _, err := task.Step(ctx, r, fmt.Sprint("s", n), one); err != nil {
					return err
				}
			}
			if r.Task().Runs < 6 { // twice as often as MaxCrashes allows
				return task.Crashed(errors.New("killed"))
			}
			return nil
		}
		id := b.enqueue()
		g := b.serve(b.store)
		time.Sleep(10 * time.Minute)
		if got := b.want(id, task.StatusSucceeded, "", 0, 0, 5); got.CrashStreak != 0 {
			t.Errorf("%+v", got.Counters)
		}
		b.stop(g, 0)
	})
}

func TestStep_AndCheckpointDoNotTouchEachOther(t *testing.T) {
	bubble(t, func(b *bench) {
		b.handle = func(ctx context.Context, r *task.Run) error {
			at := ""
			if _, err := r.Load(&at); err != nil {
				return err
			}
			if r.Task().Runs == 2 && at != "mine" {
				return task.Permanent(fmt.Errorf("checkpoint %q", at))
			}
			got, err := task.Step(ctx, r, "a", func(ctx context.Context) (string, error) { return "step", r.Save(ctx, "mine") })
			if err != nil || got != "step" {
				return task.Permanent(fmt.Errorf("%q, %w", got, err))
			}
			if r.Task().Runs == 1 {
				return errors.New("again")
			}
			return nil
		}
		id := b.enqueue()
		g := b.serve(b.store)
		time.Sleep(10 * time.Minute)
		b.want(id, task.StatusSucceeded, "", 1, 0, 0)
		b.stop(g, 0)
	})
}

func TestRetry_FromTheStartDoesEverythingAgain(t *testing.T) {
	bubble(t, func(b *bench) {
		p := &plan{names: []string{"a", "b"}, failures: 3}
		b.handle = p.handle
		id := b.enqueue()
		g := b.serve(b.store)
		time.Sleep(10 * time.Minute)
		b.want(id, task.StatusFailed, "", 3, 0, 0)
		if err := b.client.Retry(t.Context(), id, &task.RetryOptions{FromStart: true}); err != nil {
			t.Fatal(err)
		}
		b.want(id, task.StatusSucceeded, "", 0, 0, 0)
		if fmt.Sprint(p.called) != "[a b a b]" {
			t.Errorf("called %v", p.called)
		}
		b.stop(g, 0)
	})
}

func TestRetry_ASkippedStepIsNotDone(t *testing.T) {
	bubble(t, func(b *bench) {
		called := ""
		b.handle = func(ctx context.Context, r *task.Run) error {
			first, err := task.Step(ctx, r, "first", func(context.Context) (string, error) { called += "first "; return "1", nil })
			if err != nil {
				return err
			}
			bad, err := task.Step(ctx, r, "bad", func(context.Context) (string, error) { called += "bad "; return "2", errors.New("never") })
			if err != nil {
				return err
			}
			if err := task.EachOf(ctx, r, "items", []int{1, 2}, func(context.Context, int) error { called += "item "; return nil }); err != nil {
				return err
			}
			return r.SetResult(first + bad)
		}
		id := b.enqueue()
		err := b.client.Retry(t.Context(), id, &task.RetryOptions{SkipSteps: []string{"bad"}})
		if !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), "has not run yet") {
			t.Errorf("skipped before the first run: %v", err)
		}
		g := b.serve(b.store)
		time.Sleep(10 * time.Minute)
		b.want(id, task.StatusFailed, "", 3, 0, 0)
		called = ""
		if err := b.client.Retry(t.Context(), id, &task.RetryOptions{SkipSteps: []string{"first", "bad", "items"}}); err != nil {
			t.Fatal(err)
		}
		if got := b.want(id, task.StatusSucceeded, "", 0, 0, 0); string(got.Result) != `"1"` || called != "" {
			t.Errorf("result %s, called %s", got.Result, called)
		}
		if got := b.steps(id); got != "first:done bad:skipped items:skipped" {
			t.Errorf("recorded %q", got)
		}
		b.stop(g, 0)
	})
}

func TestRetry_AStepThatIsNewInTheMiddleCanBeSkipped(t *testing.T) {
	bubble(t, func(b *bench) {
		p := &plan{names: []string{"a", "b"}, failures: 3}
		b.handle = p.handle
		id := b.enqueue()
		g := b.serve(b.store)
		time.Sleep(10 * time.Minute)
		b.want(id, task.StatusFailed, "", 3, 0, 0)
		b.stop(g, 0)
		b2 := bench{t: b.t, store: b.store, client: b.client, kind: kind}
		b2.handle = func(ctx context.Context, r *task.Run) error {
			for _, name := range []string{"a", "new", "b", "c"} {
				if _, err := task.Step(ctx, r, name, one); err != nil {
					return err
				}
			}
			return nil
		}
		g = b2.serve(b.store)
		if err := b.client.Retry(t.Context(), id, &task.RetryOptions{SkipSteps: []string{"new"}}); err != nil {
			t.Fatal(err)
		}
		b.want(id, task.StatusSucceeded, "", 0, 0, 0)
		if got := b.steps(id); got != "a:done b:done c:done new:skipped" {
			t.Errorf("recorded %q", got)
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
