package task_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// ignoring has the handler ignore its context until letGo is closed.
func (b *bench) ignoring() (letGo chan struct{}) {
	letGo = make(chan struct{})
	b.handle = func(context.Context, *task.Run) error {
		standHere(letGo)
		return nil
	}
	return letGo
}

//go:noinline
func standHere(until <-chan struct{}) { <-until }

// unresponsive returns what the only worker reports about its handlers.
func (b *bench) unresponsive() []string {
	b.t.Helper()
	synctest.Wait()
	all, err := b.client.Workers(b.t.Context())
	if err != nil || len(all) != 1 {
		b.t.Fatalf("%d workers, %v", len(all), err)
	}
	return all[0].Unresponsive
}

func TestDetector_AHandlerThatGoesOnTenSecondsAfterItsContextIsReportedOnce(t *testing.T) {
	for name, end := range map[string]func(b *bench, id string) error{
		"timeout": func(*bench, string) error { time.Sleep(time.Minute); return nil },
		"cancel":  func(b *bench, id string) error { return b.client.Cancel(b.t.Context(), id) },
		"interrupt": func(b *bench, id string) error {
			return b.client.Interrupt(b.t.Context(), id)
		},
		"lost lease": func(b *bench, id string) error { b.store.Kill(b.get(id).Worker); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(b *bench) {
				var (
					log   logBuffer
					heard events
				)
				b.log, b.observe = slog.New(slog.NewTextHandler(&log, nil)), heard.observe
				b.kind.Timeout = time.Minute
				letGo := b.ignoring()
				g := b.serve(b.store)
				id := b.enqueue()
				b.want(id, task.StatusRunning, "", 0, 0, 0)
				if err := end(b, id); err != nil {
					t.Fatal(err)
				}
				time.Sleep(9 * time.Second)
				synctest.Wait()
				if n := strings.Count(log.String(), "handler unresponsive"); n != 0 {
					t.Errorf("reported %d times before its time:\n%s", n, &log)
				}
				time.Sleep(10 * time.Second)
				if got := b.unresponsive(); name != "lost lease" && !slices.Equal(got, []string{id}) {
					t.Errorf("the worker names %v, want %s", got, id)
				}
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if n := strings.Count(log.String(), "handler unresponsive"); n != 1 || !strings.Contains(log.String(), "standHere") || !strings.Contains(log.String(), id) {
					t.Errorf("reported %d times, want once, with the stack:\n%s", n, &log)
				}
				n := 0
				for _, e := range heard.all {
					if e.Unresponsive {
						n++
					}
				}
				if n != 1 {
					t.Errorf("%d events, want 1: %+v", n, heard.all)
				}
				close(letGo)
				time.Sleep(5 * time.Second)
				if got := b.unresponsive(); len(got) != 0 {
					t.Errorf("it has returned, and the worker names %v", got)
				}
				g.Stop(nil)
				g.Wait()
			})
		})
	}
}

func TestDetector_AHandlerThatHasReturnedIsNotReportedWhileItsEndCannotBeWritten(t *testing.T) {
	bubble(t, func(b *bench) {
		var log logBuffer
		b.log = slog.New(slog.NewTextHandler(&log, nil))
		b.kind.Timeout = time.Minute
		b.handle = func(ctx context.Context, _ *task.Run) error { <-ctx.Done(); return ctx.Err() }
		cut := &faultyStore{Store: b.store}
		g := b.serve(cut)
		id := b.enqueue()
		b.want(id, task.StatusRunning, "", 0, 0, 0)
		cut.cut(true)
		time.Sleep(2 * time.Minute)
		cut.cut(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		g.Stop(nil)
		g.Wait()
		if strings.Contains(log.String(), "handler unresponsive") {
			t.Errorf("the log is\n%s", &log)
		}
	})
}

func TestWorker_ASpareSlotIsOpenWhileAHandlerIsUnresponsive(t *testing.T) {
	bubble(t, func(b *bench) {
		b.slots, b.spare, b.kind.Timeout = 1, 1, time.Minute
		letGo := b.ignoring()
		g := b.serve(b.store)
		first := b.enqueue()
		b.want(first, task.StatusRunning, "", 0, 0, 0)
		second := b.enqueue()
		time.Sleep(time.Millisecond)
		third := b.enqueue()
		time.Sleep(69 * time.Second)
		b.want(second, task.StatusQueued, "", 0, 0, 0)
		time.Sleep(3 * time.Second)
		b.want(second, task.StatusRunning, "", 0, 0, 0)
		time.Sleep(10 * time.Second)
		b.want(third, task.StatusQueued, "", 0, 0, 0)
		close(letGo) // all return at once
		time.Sleep(10 * time.Second)
		for _, id := range []string{second, third} {
			b.want(id, task.StatusSucceeded, "", 0, 0, 0)
		}
		b.stop(g, 0)
	})
}

func TestWorker_NegativeSpareSlotsAreRefused(t *testing.T) {
	_, err := task.NewWorker(task.WorkerConfig{Store: memstore.New(), Mux: new(task.Mux), SpareSlots: -1})
	if !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), "SpareSlots -1") {
		t.Errorf("%v", err)
	}
}

func TestUnresponsive_ARunThatHasOutlivedItsTimeoutIsAnAttemptThoughAStopEndsIt(t *testing.T) {
	bubble(t, func(b *bench) {
		b.kind.Timeout = time.Minute
		letGo := b.ignoring()
		g := b.serve(b.store)
		id := b.enqueue()
		b.want(id, task.StatusRunning, "", 0, 0, 0)
		time.Sleep(90 * time.Second)
		b.stop(g, 3)
		got := b.want(id, task.StatusQueued, "", 1, 0, 0)
		if !strings.Contains(got.Error, "after its timeout of 1m0s it had not returned") {
			t.Errorf("error %q", got.Error)
		}
		close(letGo)
	})
}

func TestUnresponsive_ARunWhoseTimeoutPassesDuringTheStopIsAnInterruption(t *testing.T) {
	bubble(t, func(b *bench) {
		b.kind.Timeout = time.Minute
		letGo := b.ignoring()
		g := b.serve(b.store)
		id := b.enqueue()
		b.want(id, task.StatusRunning, "", 0, 0, 0)
		// The interrupt comes 9 s after last call, and handlers have half a second from then on.
		time.Sleep(time.Minute - 9200*time.Millisecond)
		b.stop(g, 3)
		b.want(id, task.StatusInterrupted, task.ReasonDeadline, 0, 1, 0)
		close(letGo)
	})
}

func TestUnresponsive_ACancelledTaskIsCancelledThoughItsHandlerNeverReturned(t *testing.T) {
	bubble(t, func(b *bench) {
		var heard events
		b.observe = heard.observe
		letGo := b.ignoring()
		g := b.serve(b.store)
		id := b.enqueue()
		b.want(id, task.StatusRunning, "", 0, 0, 0)
		if err := b.client.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		b.stop(g, 3)
		b.want(id, task.StatusCancelled, "", 0, 0, 0)
		if last := heard.all[len(heard.all)-1]; last.Status != task.StatusCancelled {
			t.Errorf("the last event is %+v", last)
		}
		close(letGo)
	})
}

// One deploy after the other finds it unresponsive, and each would take its whole grace period.
func TestUnresponsive_ATaskThatIsSoAtEveryStopFailsAtTheTenth(t *testing.T) {
	for _, c := range []struct {
		limit int
		want  task.Status
	}{{0, task.StatusFailed}, {-1, task.StatusInterrupted}} {
		bubble(t, func(b *bench) {
			b.kind.MaxInterruptions = c.limit
			letGo := b.ignoring()
			id := b.enqueue()
			for n := range 10 {
				g := b.serve(b.store)
				time.Sleep(time.Minute)
				if got := b.get(id); got.Status != task.StatusRunning {
					t.Fatalf("before stop %d it is %s", n+1, got.Status)
				}
				b.stop(g, 3)
			}
			got := b.get(id)
			if got.Status != c.want || got.InterruptStreak != 10 || c.limit == 0 && !strings.Contains(got.Error, "interruption 10 in a row without a new checkpoint") {
				t.Errorf("with MaxInterruptions %d it is %s after %d: %s", c.limit, got.Status, got.InterruptStreak, got.Error)
			}
			close(letGo)
		})
	}
}
