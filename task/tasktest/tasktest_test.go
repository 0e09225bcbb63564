package tasktest

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
)

type args struct{ N int }

// kind is the kind of the tasks of try.
var kind = task.Kind[args]{Name: "k", MaxAttempts: 3, Backoff: func(n int) time.Duration { return time.Duration(n) * time.Hour }}

// try is RunTask for a handler, and returns its error.
func try(t *testing.T, k task.Kind[args], opt Options, handler func(context.Context, *task.Run, args) error) (Outcome, error) {
	t.Helper()
	var mux task.Mux
	task.Handle(&mux, k, handler)
	n, err := k.Prepare(args{N: 3}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return work(t, &mux, n, opt, 20*time.Second)
}

// counts reports an error unless a task ended with these numbers.
func counts(t *testing.T, o Outcome, err error, status task.Status, runs, attempts, interruptions, crashes int) {
	t.Helper()
	if err != nil || o.Status != status || o.Runs != runs || len(o.History) != runs || o.Attempts != attempts || o.Interruptions != interruptions || o.Crashes != crashes {
		t.Errorf("%v; %s (%q) after %d runs with %+v, history %+v", err, o.Status, o.Error, o.Runs, o.Counters, o.History)
	}
}

// complains checks that an error contains some words.
func complains(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%v, want %q", err, w)
		}
	}
}

// count is a handler that saves each number up to N.
func count(ctx context.Context, r *task.Run, a args) error {
	at := 0
	if _, err := r.Load(&at); err != nil {
		return err
	}
	for at < a.N {
		if r.Stopping() || ctx.Err() != nil {
			return r.HandOver(at)
		}
		at++
		if err := r.Save(ctx, at); err != nil {
			return err
		}
	}
	return nil
}

func TestOutcome_HasWhatTheHandlerLeft(t *testing.T) {
	t.Parallel()
	o, err := try(t, kind, Options{}, func(ctx context.Context, r *task.Run, a args) error {
		r.Log("one")
		r.SetProgress(0.5, "half")
		r.Log("two")
		if err := r.SetResult(a.N); err != nil {
			return err
		}
		return count(ctx, r, a)
	})
	counts(t, o, err, task.StatusSucceeded, 1, 0, 0, 0)
	if o.Log != "one\ntwo\n" || o.Progress.Message != "half" || string(o.Result) != "3" || o.Saves != 3 || string(o.Checkpoint) != "3" {
		t.Errorf("%+v", o)
	}
}

func TestOutcome_AFailingHandlerIsTriedAgainInNoTime(t *testing.T) {
	t.Parallel()
	began := time.Now()
	o, err := try(t, kind, Options{}, func(context.Context, *task.Run, args) error { return errors.New("no luck") })
	counts(t, o, err, task.StatusFailed, 3, 3, 0, 0)
	if o.Error != "no luck" || o.History[2].Started.Sub(o.History[0].Started) < 3*time.Hour || time.Since(began) > time.Minute {
		t.Errorf("%q, %v later, %v", o.Error, o.History[2].Started.Sub(o.History[0].Started), time.Since(began))
	}
}

func TestOutcome_APanicATimeoutAndASnoozeAreWhatTheyAreForAWorker(t *testing.T) {
	t.Parallel()
	k := kind
	k.Timeout = time.Minute
	n := 0
	o, err := try(t, k, Options{}, func(ctx context.Context, _ *task.Run, _ args) error {
		switch n++; n {
		case 1:
			panic("oh")
		case 2:
			<-ctx.Done()
			return context.Cause(ctx)
		case 3:
			return task.Snooze(24 * time.Hour)
		}
		return nil
	})
	counts(t, o, err, task.StatusSucceeded, 4, 2, 0, 0)
	if !strings.Contains(o.History[0].Error, "panic: oh") || o.History[1].Error != task.ErrTimeout.Error() || o.History[2].Status != task.StatusQueued {
		t.Errorf("%+v", o.History)
	}
}

func TestLastCall_AtLastCallTheContextLives(t *testing.T) {
	t.Parallel()
	var stopping bool
	var alive, left time.Duration
	o, err := try(t, kind, Options{LastCallAtSave: 2, Grace: 20 * time.Second}, func(ctx context.Context, r *task.Run, a args) error {
		if r.Task().Runs > 1 {
			return count(ctx, r, a)
		}
		for n := range 2 {
			stopping = r.Stopping()
			if err := r.Save(ctx, n+1); err != nil {
				return err
			}
		}
		if stopping || !r.Stopping() || ctx.Err() != nil {
			return task.Permanent(errors.New("last call has another moment"))
		}
		left, _ = lastcall.TimeLeft(ctx)
		began := time.Now()
		<-ctx.Done()
		alive = time.Since(began)
		return ctx.Err()
	})
	counts(t, o, err, task.StatusSucceeded, 2, 0, 1, 0)
	if alive != 18*time.Second || left != alive || o.History[0].Reason != task.ReasonStop {
		t.Errorf("the context lived for %v, %v were left, %+v", alive, left, o.History[0])
	}
}

func TestLastCall_AtTheInterruptTheContextHasEndedAndALastWriteIsPossible(t *testing.T) {
	t.Parallel()
	o, err := try(t, kind, Options{InterruptAtSave: 1, MaxRuns: 1}, func(ctx context.Context, r *task.Run, _ args) error {
		if err := r.Save(ctx, 1); err != nil {
			return err
		}
		var by *lastcall.InterruptError
		if !r.Stopping() || !errors.As(context.Cause(ctx), &by) {
			return task.Permanent(errors.New("the interrupt has another moment"))
		}
		time.Sleep(time.Second) // of the one and a half that there are
		if err := r.Save(ctx, 2); err != nil {
			return task.Permanent(err)
		}
		return ctx.Err()
	})
	counts(t, o, err, task.StatusInterrupted, 1, 0, 1, 0)
	if string(o.Checkpoint) != "2" || o.Saves != 2 {
		t.Errorf("%s, %d saves", o.Checkpoint, o.Saves)
	}
}

func TestLastCall_ComesAfterATimeForHandlersThatSaveNothing(t *testing.T) {
	t.Parallel()
	o, err := try(t, kind, Options{LastCallAfter: time.Minute}, func(_ context.Context, r *task.Run, _ args) error {
		for range 30 {
			if time.Sleep(5 * time.Second); r.Stopping() {
				return task.ErrInterrupted
			}
		}
		return nil
	})
	counts(t, o, err, task.StatusSucceeded, 2, 0, 1, 0)
	if took := o.History[0].Ended.Sub(o.History[0].Started); took < time.Minute || took > 65*time.Second {
		t.Errorf("the first run took %v", took)
	}
}

func TestCrash_AfterACrashNothingReachesTheStore(t *testing.T) {
	t.Parallel()
	returned, effects := 0, 0
	o, err := try(t, kind, Options{CrashAtSave: 2}, func(ctx context.Context, r *task.Run, a args) error {
		effects++
		r.Log("run")
		if err := count(ctx, r, a); err != nil {
			return err
		}
		returned++
		return nil
	})
	counts(t, o, err, task.StatusSucceeded, 2, 0, 0, 1)
	if effects != 2 || returned != 1 || !o.History[0].Crashed || o.Saves != 3 || o.Log != "run\nrun\n" {
		t.Errorf("%d begun, %d returned, %+v, log %q", effects, returned, o.History, o.Log)
	}
	o, err = try(t, kind, Options{CrashAtSave: 2, MaxRuns: 1}, count)
	counts(t, o, err, task.StatusRunning, 1, 0, 0, 0)
	if string(o.Checkpoint) != "2" {
		t.Errorf("checkpoint %s", o.Checkpoint)
	}
}

func TestCrash_EndsAlsoWhatTheHandlerHasStarted(t *testing.T) {
	t.Parallel()
	o, err := try(t, kind, Options{CrashAtSave: 1}, func(ctx context.Context, r *task.Run, a args) error {
		if r.Task().Runs > 1 {
			return nil
		}
		var wg sync.WaitGroup
		wg.Go(func() { _ = r.Save(ctx, 1) })
		<-ctx.Done()
		wg.Wait()
		return r.Save(context.Background(), 2)
	})
	counts(t, o, err, task.StatusSucceeded, 2, 0, 0, 1)
	if string(o.Checkpoint) != "1" {
		t.Errorf("a dead process has saved %s", o.Checkpoint)
	}
}

func TestCheckpoint_AGivenCheckpointIsFoundByEveryRunUntilThereIsANewOne(t *testing.T) {
	t.Parallel()
	var found []int
	o, err := try(t, kind, Options{Checkpoint: 2}, func(ctx context.Context, r *task.Run, a args) error {
		at := 0
		if _, err := r.Load(&at); err != nil {
			return err
		}
		if found = append(found, at); len(found) == 1 {
			return errors.New("before the first save")
		}
		return count(ctx, r, a)
	})
	counts(t, o, err, task.StatusSucceeded, 2, 1, 0, 0)
	if len(found) != 2 || found[0] != 2 || found[1] != 2 || o.Saves != 1 {
		t.Errorf("found %v, %d saves", found, o.Saves)
	}
}

func TestUnresponsive_AnUnresponsiveHandlerIsNamedWithWhereItStands(t *testing.T) {
	t.Parallel()
	for name, unresponsive := range map[string]func(){
		"that sleeps for ever":   func() { select {} },
		"that polls":             func() { pollsForEver() },
		"that sleeps for a year": func() { time.Sleep(365 * 24 * time.Hour) },
	} {
		_, err := try(t, kind, Options{InterruptAtSave: 1}, func(ctx context.Context, r *task.Run, _ args) error {
			if err := r.Save(ctx, 1); err != nil {
				return err
			}
			unresponsive()
			return nil
		})
		complains(t, err, `the handler of kind "k" is unresponsive`, "interrupted at save 1", "1.5s", "TestUnresponsive_AnUnresponsiveHandlerIsNamedWithWhereItStands.func")
		if name == "that polls" {
			complains(t, err, "pollsForEver", "tasktest_test.go")
		}
	}
}

func pollsForEver() {
	for {
		time.Sleep(time.Second)
	}
}

func TestUnresponsive_AHandlerIsUnresponsiveWhoReturnsTooLate(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]string{1400 * time.Millisecond: "", 1600 * time.Millisecond: "is unresponsive"} {
		for _, opt := range []Options{{InterruptAtSave: 1}, {LastCallAtSave: 1}, {LastCallAfter: time.Minute}} {
			o, err := try(t, kind, opt, func(ctx context.Context, r *task.Run, _ args) error {
				if r.Task().Runs == 1 {
					if err := r.Save(ctx, 1); err != nil {
						return err
					}
					<-ctx.Done()
					time.Sleep(wait)
					return ctx.Err()
				}
				return nil
			})
			if want != "" {
				complains(t, err, want)
				continue
			}
			counts(t, o, err, task.StatusSucceeded, 2, 0, 1, 0)
		}
	}
}

func TestUnresponsive_AHandlerThatIsKnownToBeUnresponsiveIsWorkedOn(t *testing.T) {
	t.Parallel()
	unresponsive := func(first time.Duration) func(ctx context.Context, r *task.Run, _ args) error {
		return func(ctx context.Context, r *task.Run, _ args) error {
			if r.Task().Runs == 1 {
				if err := r.Save(ctx, 1); err != nil {
					return err
				}
				time.Sleep(first)
				_ = r.Save(context.Background(), "too late")
			}
			return nil
		}
	}
	for _, first := range []time.Duration{time.Minute, 1000 * time.Hour} {
		o, err := try(t, kind, Options{LastCallAtSave: 1, IgnoresContext: true}, unresponsive(first))
		counts(t, o, err, task.StatusSucceeded, 2, 0, 1, 0)
		if o.History[0].Reason != task.ReasonDeadline || string(o.Checkpoint) != "1" {
			t.Errorf("%+v, checkpoint %s", o.History[0], o.Checkpoint)
		}
	}
	_, err := try(t, kind, Options{LastCallAtSave: 1, IgnoresContext: true}, unresponsive(0))
	complains(t, err, `the handler of kind "k" is not unresponsive`)
}

func TestUnresponsive_AHandlerThatDoesNotComeToAnEndIsNamed(t *testing.T) {
	t.Parallel()
	_, err := try(t, kind, Options{}, func(ctx context.Context, _ *task.Run, _ args) error { <-ctx.Done(); return nil })
	complains(t, err, `"k" had not returned after 1h0m0s`, "Options.RunTimeout")
	_, err = try(t, kind, Options{RunTimeout: time.Minute}, func(context.Context, *task.Run, args) error { select {} })
	complains(t, err, `"k" is unresponsive`, "had not returned after 1m0s")
	k := kind
	k.Timeout = time.Second
	_, err = try(t, k, Options{}, func(context.Context, *task.Run, args) error { select {} })
	complains(t, err, `"k" is unresponsive`)
	_, err = try(t, kind, Options{}, func(context.Context, *task.Run, args) error { return task.Snooze(time.Hour) })
	complains(t, err, "after 100 runs the task is queued")
}

func TestUnresponsive_AHandlerForWhichTheClockStandsStillIsNamed(t *testing.T) {
	t.Parallel()
	outside := make(chan int)
	defer close(outside) // afterwards it goes on to its end
	var mux task.Mux
	task.Handle(&mux, kind, func(context.Context, *task.Run, args) error { <-outside; return nil })
	n, err := kind.Prepare(args{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = work(t, &mux, n, Options{}, 500*time.Millisecond)
	complains(t, err, `"k" has not returned`, "500ms of real time", "Options.RealTime", "TestUnresponsive_AHandlerForWhichTheClockStandsStillIsNamed.func")
}

func TestTasktest_WhatNeverHappenedFailsTheTest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		opt  Options
		want string
	}{
		{Options{InterruptAtSave: 4}, "saved 3 times, so what was to happen at save 4"},
		{Options{CrashAtSave: 5}, "save 5"},
		{Options{LastCallAtSave: 6}, "save 6"},
		{Options{LastCallAfter: time.Minute}, "done before LastCallAfter"},
		{Options{CrashAtSave: 1, InterruptAtSave: 1}, "only one"},
		{Options{MaxRuns: -1}, "negative"},
		{Options{IgnoresContext: true}, "with IgnoresContext"},
		{Options{CrashAtSave: 1, IgnoresContext: true}, "with IgnoresContext"},
		{Options{Checkpoint: func() {}}, "Options.Checkpoint"},
	} {
		_, err := try(t, kind, c.opt, count)
		complains(t, err, c.want)
	}
	_, err := work(t, new(task.Mux), task.NewTask{Kind: "x"}, Options{}, time.Minute)
	complains(t, err, `no handler for kind "x"`)
}

func TestBubble_OfTheTestsOwnIsUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inside := make(chan int, 1) // would be a panic in another bubble
		o, err := try(t, kind, Options{InterruptAtSave: 2}, func(ctx context.Context, r *task.Run, a args) error {
			time.Sleep(time.Minute)
			select {
			case inside <- 1:
			default:
			}
			return count(ctx, r, a)
		})
		counts(t, o, err, task.StatusSucceeded, 2, 0, 1, 0)
		<-inside
	})
}

func TestBubble_InRealTimeAHandlerMayWaitForTheNetwork(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	defer s.Close()
	for _, opt := range []Options{{InterruptAtSave: 1}, {LastCallAtSave: 1}, {CrashAtSave: 1}} {
		opt.RealTime = true
		var path string
		o, err := try(t, kind, opt, func(ctx context.Context, r *task.Run, a args) error {
			resp, err := http.Get(s.URL + "/run")
			if err != nil {
				return err
			}
			path = <-asked
			return errors.Join(resp.Body.Close(), count(ctx, r, a))
		})
		counts(t, o, err, task.StatusSucceeded, 2, 0, o.Interruptions, o.Crashes)
		if o.Interruptions+o.Crashes != 1 || path != "/run" || o.Created.Year() < 2020 {
			t.Errorf("%+v, path %s, created %v", o.Counters, path, o.Created)
		}
	}
	_, err := try(t, kind, Options{RealTime: true, InterruptAtSave: 1}, func(ctx context.Context, r *task.Run, _ args) error {
		if err := r.Save(ctx, 1); err != nil {
			return err
		}
		<-t.Context().Done()
		return nil
	})
	complains(t, err, `"k" is unresponsive`, "500ms")
}

func TestTasktest_MiddlewareBelongsToTheTest(t *testing.T) {
	t.Parallel()
	var mux task.Mux
	var order []string
	mux.Use(func(next task.Handler) task.Handler {
		return func(ctx context.Context, r *task.Run) error { order = append(order, "around"); return next(ctx, r) }
	})
	task.Handle(&mux, kind, func(context.Context, *task.Run, args) error { order = append(order, "inside"); return nil })
	n, err := kind.Prepare(args{}, &task.EnqueueOptions{Delay: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	o := RunTask(t, &mux, n, Options{})
	counts(t, o, nil, task.StatusSucceeded, 1, 0, 0, 0)
	if strings.Join(order, " ") != "around inside" || o.Started.Sub(o.Created) < time.Hour {
		t.Errorf("%v, %v", order, o.Started.Sub(o.Created))
	}
}
