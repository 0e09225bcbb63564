package task_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// nilError is an error whose nil pointer panics when it is asked for its text.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

// embedding has the methods of an error that is not there.
type embedding struct{ error }

// nasty panics where errors.Is and errors.As ask it.
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

func TestObserve_APanicEndsNoRunAndIsLogged(t *testing.T) {
	bubble(t, func(b *bench) {
		var log bytes.Buffer
		b.log = slog.New(slog.NewTextHandler(&log, nil))
		b.observe = func(e task.Event) { panic("wrong label for " + string(e.Status)) }
		b.handle = func(context.Context, *task.Run) error { return nil }
		g := b.serve(b.store)
		id := b.enqueue()
		b.want(id, task.StatusSucceeded, "", 0, 0, 0)
		b.stop(g, 0)
		for _, want := range []string{"Observe panicked", "wrong label for running", "wrong label for succeeded"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %q:\n%s", want, &log)
			}
		}
	})
}

// immediate is a store whose transactions do everything at once.
type immediate struct{ task.Store }

func (s immediate) AddTx(ctx context.Context, _ task.Tx, tasks []task.NewTask) ([]task.AddResult, error) {
	return s.Add(ctx, tasks)
}
func (s immediate) FinishTx(ctx context.Context, _ task.Tx, c task.Change) error {
	return s.Apply(ctx, []task.Change{c})[0]
}
func (immediate) Wake() {}

type noTx struct{}

func (noTx) StoreTx() string { return "nothing" }

// textOnly is a log that asks errors for their text and does not expect a panic.
type textOnly struct {
	slog.Handler
	texts *[]string
}

func (h textOnly) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok {
			*h.texts = append(*h.texts, err.Error())
		} else {
			*h.texts = append(*h.texts, a.Value.String())
		}
		return true
	})
	return nil
}

func TestFinishIn_AnErrorThatPanicsAfterTheCommitIsLoggedAndTheSuccessStands(t *testing.T) {
	bubble(t, func(b *bench) {
		var texts []string
		b.log = slog.New(textOnly{slog.NewTextHandler(new(bytes.Buffer), nil), &texts})
		b.handle = func(ctx context.Context, r *task.Run) error {
			if err := r.FinishTx(ctx, noTx{}); err != nil {
				return err
			}
			return typedNil()
		}
		g := b.serve(immediate{b.store})
		id := b.enqueue()
		b.want(id, task.StatusSucceeded, "", 0, 0, 0)
		b.stop(g, 0)
		if !strings.Contains(strings.Join(texts, " "), "panic: ") {
			t.Errorf("logged: %q", texts)
		}
	})
}

// events keeps what an observer is told.
type events struct {
	mu  sync.Mutex
	all []task.Event
}

func (e *events) observe(ev task.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
}

func TestObserve_HearsOfAnEndThatANeighbourHasRecorded(t *testing.T) {
	bubble(t, func(b *bench) {
		b.kind.MaxCrashes = 1
		b.handle = func(ctx context.Context, _ *task.Run) error { <-ctx.Done(); return ctx.Err() }
		var dying, taking events
		cut := &faultyStore{Store: b.store}
		b.observe = dying.observe
		dead := b.serve(cut)
		id := b.enqueue()
		first := b.want(id, task.StatusRunning, "", 0, 0, 0)
		b.observe = taking.observe
		next := b.serve(b.store)
		cut.cut(true)
		b.store.Kill(first.Worker)
		time.Sleep(time.Second)
		got := b.want(id, task.StatusFailed, "", 0, 0, 1)
		if len(taking.all) != 1 {
			t.Fatalf("the neighbour tells of %+v", taking.all)
		}
		e := taking.all[0]
		if !e.Reclaimed || e.Stale || e.Status != task.StatusFailed || e.Err != got.Error || e.Task.ID != id || e.Task.Run != first.Run || e.Took != 0 {
			t.Errorf("the neighbour tells of %+v", e)
		}
		b.stop(next, 0)
		cut.cut(false) // it was not dead after all
		dead.Stop(nil)
		dead.Wait()
		if last := dying.all[len(dying.all)-1]; !last.Stale || last.Reclaimed || last.Status != task.StatusInterrupted {
			t.Errorf("the worker that was taken for dead tells of %+v", last)
		}
	})
}
