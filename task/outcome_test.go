package task_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
)

func TestSnooze_WaitsAndCostsNothing(t *testing.T) {
	bubble(t, func(b *bench) {
		var began []time.Time
		b.handle = func(context.Context, *task.Run) error {
			if began = append(began, time.Now()); len(began) == 1 {
				return task.Snooze(time.Minute)
			}
			return nil
		}
		g := b.serve(b.store)
		id := b.enqueue()
		if _, err := b.client.Wait(b.t.Context(), id); err != nil {
			t.Fatal(err)
		}
		b.want(id, task.StatusSucceeded, "", 0, 0, 0)
		if d := began[1].Sub(began[0]); d < time.Minute || d > 62*time.Second {
			t.Errorf("run again after %v", d)
		}
		b.stop(g, 0)
	})
}

func TestInterrupt_InterruptionsWithoutACheckpointWaitLongerEachTimeAndAreCapped(t *testing.T) {
	bubble(t, func(b *bench) {
		b.kind.MaxInterruptions = 3
		b.hold()
		id := b.enqueue()
		for n, want := range []time.Duration{0, 200 * time.Millisecond, 0} {
			g := b.serve(b.store)
			for b.get(id).Status != task.StatusRunning {
				time.Sleep(10 * time.Millisecond)
			}
			b.stop(g, 0)
			got := b.get(id)
			if n == 2 {
				if got.Status != task.StatusFailed {
					t.Errorf("after three interruptions: %s", got.Status)
				}
				return
			}
			if d := got.RunAt.Sub(got.Since); got.Status != task.StatusInterrupted || d != want {
				t.Errorf("interruption %d: %s, waits %v, want %v", n+1, got.Status, d, want)
			}
		}
	})
}

func TestStop_AfterAStopBeganOnlyPermanentErrorsAndPanicsAreTheHandlersFault(t *testing.T) {
	for name, c := range map[string]struct {
		end    func() error
		status task.Status
		reason task.Reason
		counts [2]int
	}{
		"an error of any kind": {func() error { return errors.New("connection closed") }, task.StatusInterrupted, task.ReasonStop, [2]int{0, 1}},
		"a permanent error":    {func() error { return task.Permanent(errors.New("no such file")) }, task.StatusFailed, "", [2]int{1, 0}},
		"a panic":              {func() error { panic("oh") }, task.StatusQueued, "", [2]int{1, 0}},
		"nil":                  {func() error { return nil }, task.StatusSucceeded, "", [2]int{0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(b *bench) {
				task.Handle(&b.mux, kind, func(ctx context.Context, _ *task.Run, _ args) error {
					<-lastcall.LastCall(ctx)
					return c.end()
				})
				g := b.serve(b.store)
				id := b.enqueue()
				b.want(id, task.StatusRunning, "", 0, 0, 0)
				b.stop(g, 0)
				b.want(id, c.status, c.reason, c.counts[0], c.counts[1], 0)
			})
		})
	}
}

// nilError is an error whose nil pointer panics in Error.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

// embedding has the methods of a nil error.
type embedding struct{ error }

// nasty panics where errors.Is and errors.As call it.
type nasty struct{ in string }

func (e nasty) panics(in string) {
	if e.in == in {
		panic(in)
	}
}

func (e nasty) Error() string   { e.panics("Error"); return "nasty" }
func (e nasty) Unwrap() error   { e.panics("Unwrap"); return nil }
func (e nasty) Is(error) bool   { e.panics("Is"); return false }
func (e nasty) As(any) bool     { e.panics("As"); return false }
func typedNil() error           { var e *nilError; return e }
func index(n int) time.Duration { return []time.Duration{}[n] }

func TestHandler_AnErrorThatPanicsIsWhatAPanicOfTheHandlerIs(t *testing.T) {
	for name, err := range map[string]error{
		"a nil pointer": typedNil(), "an embedded nil": embedding{}, "Error": nasty{"Error"}, "Unwrap": nasty{"Unwrap"},
		"As": nasty{"As"}, "a wrapped one": errors.Join(errors.New("first"), nasty{"As"}),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(b *bench) {
				first := true
				b.handle = func(context.Context, *task.Run) error {
					if first {
						first = false
						return err
					}
					return nil
				}
				g := b.serve(b.store)
				id := b.enqueue()
				got := b.want(id, task.StatusQueued, "", 1, 0, 0)
				if !strings.Contains(got.Error, "panic: ") || !strings.Contains(got.Error, "goroutine ") {
					t.Errorf("error %q: want the panic with its stack", got.Error)
				}
				other := b.enqueue()
				b.want(other, task.StatusSucceeded, "", 0, 0, 0)
				time.Sleep(2 * time.Minute)
				b.want(id, task.StatusSucceeded, "", 1, 0, 0)
				b.stop(g, 0)
			})
		})
	}
}

func TestHandler_AnErrorThatPanicsDuringAStopIsAnAttemptToo(t *testing.T) {
	bubble(t, func(b *bench) {
		b.handle = func(ctx context.Context, _ *task.Run) error { <-ctx.Done(); return nasty{"Is"} }
		g := b.serve(b.store)
		id := b.enqueue()
		synctest.Wait()
		b.stop(g, 0)
		b.want(id, task.StatusQueued, "", 1, 0, 0)
	})
}

func TestBackoff_APanicLeavesTheTaskWithTheBackoffOfOthers(t *testing.T) {
	bubble(t, func(b *bench) {
		b.kind.Backoff = index
		b.handle = func(context.Context, *task.Run) error { return errors.New("no luck") }
		g := b.serve(b.store)
		id := b.enqueue()
		got := b.want(id, task.StatusQueued, "", 1, 0, 0)
		if wait := got.RunAt.Sub(got.Since); wait <= 0 || wait > 2*time.Second {
			t.Errorf("it waits for %v", wait)
		}
		if !strings.HasPrefix(got.Error, "no luck\n") || !strings.Contains(got.Error, "Backoff") || !strings.Contains(got.Error, "index out of range") {
			t.Errorf("error %q", got.Error)
		}
		time.Sleep(time.Minute)
		b.want(id, task.StatusFailed, "", 3, 0, 0)
		b.stop(g, 0)
	})
}

func TestOutcome_NilIsSuccess(t *testing.T) {
	bubble(t, func(b *bench) {
		task.Handle(&b.mux, kind, func(_ context.Context, r *task.Run, a args) error {
			if a.N != 1 || r.ID() == "" || r.FencingToken() == 0 {
				t.Errorf("args %+v, id %q, fence %d", a, r.ID(), r.FencingToken())
			}
			return nil
		})
		g := b.serve(b.store)
		id := b.enqueue()
		if got := b.want(id, task.StatusSucceeded, "", 0, 0, 0); got.Finished.IsZero() || got.Runs != 1 {
			t.Errorf("%+v", got)
		}
		b.stop(g, 0)
	})
}

func TestOutcome_AnErrorIsAnAttemptThatWaitsForItsBackoffUntilTheCap(t *testing.T) {
	bubble(t, func(b *bench) {
		task.Handle(&b.mux, kind, func(context.Context, *task.Run, args) error { return errors.New("no\x00luck") })
		g := b.serve(b.store)
		id := b.enqueue()
		if got := b.want(id, task.StatusQueued, "", 1, 0, 0); got.Error != "no\uFFFDluck" {
			t.Errorf("error is %q", got.Error)
		}
		time.Sleep(59 * time.Second)
		b.want(id, task.StatusQueued, "", 1, 0, 0)
		time.Sleep(2 * time.Second)
		b.want(id, task.StatusQueued, "", 2, 0, 0)
		time.Sleep(3 * time.Minute)
		b.want(id, task.StatusFailed, "", 3, 0, 0)
		b.stop(g, 0)
	})
}

func TestOutcome_APermanentErrorFailsAtOnce(t *testing.T) {
	bubble(t, func(b *bench) {
		cause := errors.New("broken for good")
		task.Handle(&b.mux, kind, func(context.Context, *task.Run, args) error { return task.Permanent(cause) })
		g := b.serve(b.store)
		b.want(b.enqueue(), task.StatusFailed, "", 1, 0, 0)
		b.stop(g, 0)
	})
}

// odd is a payload of one version of the program that the other one cannot read.
const odd = `{"N": "one"}`

func TestOutcome_APayloadThatDoesNotFitWaitsForAVersionThatCanReadIt(t *testing.T) {
	bubble(t, func(b *bench) {
		b.kind.MaxAttempts, b.kind.Backoff = 0, func(int) time.Duration { return 0 }
		b.handle = func(context.Context, *task.Run) error { t.Error("the handler was called"); return nil }
		older := b.serve(b.store)
		e, err := b.client.Enqueue(t.Context(), "k", []byte(odd), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.want(e.ID, task.StatusQueued, "", 1, 0, 0); !strings.Contains(got.Error, "does not fit") || string(got.Payload) != odd {
			t.Errorf("error %q, payload %q", got.Error, got.Payload)
		}
		time.Sleep(14 * time.Minute) // one, two, four and eight minutes are fifteen
		b.want(e.ID, task.StatusQueued, "", 4, 0, 0)
		b.stop(older, 0)

		b.mux = task.Mux{} // the version that has made it
		task.Handle(&b.mux, task.Kind[map[string]string]{Name: "k"}, func(_ context.Context, _ *task.Run, got map[string]string) error {
			if got["N"] != "one" {
				t.Errorf("decoded %v", got)
			}
			return nil
		})
		newer := b.serve(b.store)
		time.Sleep(2 * time.Minute)
		b.want(e.ID, task.StatusSucceeded, "", 4, 0, 0)
		b.stop(newer, 0)
	})
}

func TestOutcome_APayloadThatNobodyCanReadFailsInTheEndOrAtOnceByAMiddleware(t *testing.T) {
	for name, c := range map[string]struct {
		middleware []func(task.Handler) task.Handler
		attempts   int
	}{
		"in the end": {nil, 5},
		"at once": {[]func(task.Handler) task.Handler{func(next task.Handler) task.Handler {
			return func(ctx context.Context, r *task.Run) error {
				err := next(ctx, r)
				if errors.Is(err, task.ErrPayload) {
					return task.Permanent(err)
				}
				return err
			}
		}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(b *bench) {
				b.kind.MaxAttempts, b.middleware = 0, c.middleware
				b.handle = func(context.Context, *task.Run) error { t.Error("the handler was called"); return nil }
				g := b.serve(b.store)
				e, err := b.client.Enqueue(t.Context(), "k", []byte(odd), nil)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(16 * time.Minute)
				b.want(e.ID, task.StatusFailed, "", c.attempts, 0, 0)
				b.stop(g, 0)
			})
		})
	}
}

func TestOutcome_APanicIsAnAttemptWithItsStack(t *testing.T) {
	bubble(t, func(b *bench) {
		task.Handle(&b.mux, kind, func(context.Context, *task.Run, args) error { panic("oh") })
		g := b.serve(b.store)
		if got := b.want(b.enqueue(), task.StatusQueued, "", 1, 0, 0); !strings.Contains(got.Error, "panic: oh") || !strings.Contains(got.Error, "outcome_test.go") {
			t.Errorf("error %q", got.Error)
		}
		b.stop(g, 0)
	})
}

func TestOutcome_ATimeoutIsAnAttemptAndItsErrorNamesIt(t *testing.T) {
	for name, c := range map[string]struct {
		end        func(context.Context, *task.Run) error
		error      string
		checkpoint string
	}{
		"the cause":   {func(ctx context.Context, _ *task.Run) error { return context.Cause(ctx) }, task.ErrTimeout.Error(), ""},
		"its context": {func(ctx context.Context, _ *task.Run) error { return ctx.Err() }, "task: timeout of the kind exceeded (1h0m0s): context deadline exceeded", ""},
		"handed over": {func(_ context.Context, r *task.Run) error { return r.HandOver(7) }, "task: timeout of the kind exceeded (1h0m0s): interrupted, checkpoint handed over", "7"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(b *bench) {
				b.kind.Timeout = time.Hour
				b.handle = func(ctx context.Context, r *task.Run) error {
					<-ctx.Done()
					return c.end(ctx, r)
				}
				g := b.serve(b.store)
				id := b.enqueue()
				b.want(id, task.StatusRunning, "", 0, 0, 0)
				time.Sleep(time.Hour + time.Second)
				if got := b.want(id, task.StatusQueued, "", 1, 0, 0); got.Error != c.error || string(got.Checkpoint) != c.checkpoint {
					t.Errorf("error %q, checkpoint %q", got.Error, got.Checkpoint)
				}
				b.stop(g, 0)
			})
		})
	}
}

func TestOutcome_ErrInterruptedWithoutAStopIsAnAttempt(t *testing.T) {
	bubble(t, func(b *bench) {
		task.Handle(&b.mux, kind, func(ctx context.Context, r *task.Run, _ args) error { return r.HandOver(7) })
		g := b.serve(b.store)
		if got := b.want(b.enqueue(), task.StatusQueued, "", 1, 0, 0); string(got.Checkpoint) != "7" {
			t.Errorf("checkpoint %q", got.Checkpoint)
		}
		b.stop(g, 0)
	})
}
