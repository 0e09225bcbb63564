package task_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

// steps lists the records of a task's steps, as name:state.
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

// plan is a handler that has steps whose results are their numbers. After the last step it fails,
// as long as failures are left.
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
