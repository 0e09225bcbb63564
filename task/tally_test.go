package task_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
)

func TestTally_TheReportOfAStopSaysWhatBecameOfTheTasks(t *testing.T) {
	bubble(t, func(b *bench) {
		left := make(chan int, 8)
		for n := range 8 {
			left <- n
		}
		b.handle = func(ctx context.Context, _ *task.Run) error {
			switch <-left {
			case 0, 1:
				<-lastcall.LastCall(ctx)
				return nil
			case 2:
				<-lastcall.LastCall(ctx)
				return task.Permanent(errors.New("no"))
			}
			<-ctx.Done()
			return ctx.Err()
		}
		first := b.many(8)
		g := b.serve(b.store)
		time.Sleep(time.Second)
		g.Stop(nil)
		r := g.Wait()
		if want := (lastcall.Note{Name: "tasks", Text: "2 finished, 1 failed, 5 interrupted (stop)"}); len(r.Notes) != 1 || r.Notes[0] != want {
			t.Errorf("%+v, want %+v", r.Notes, want)
		}
		if r.ExitCode() != 0 || len(first) != 8 {
			t.Errorf("%s", r)
		}
	})
}

// Runs that end at the same moment note the tally concurrently, and the last note must be the
// newest: 200 stops, because one of them alone seldom finds an older note.
func TestTally_SaysWhatCouldNotBeRecorded(t *testing.T) {
	for range 200 {
		bubble(t, func(b *bench) {
			b.forever()
			b.many(3)
			store := &faultyStore{Store: b.store}
			g := b.serve(store)
			time.Sleep(time.Second)
			store.cut(true)
			g.Stop(nil)
			r := g.Wait()
			if want := "3 not recorded"; len(r.Notes) != 1 || r.Notes[0].Text != want || r.ExitCode() != 75 {
				t.Errorf("code %d, %+v, want %s", r.ExitCode(), r.Notes, want)
			}
		})
	}
}

func TestTally_AStopWithoutTasksSaysNothingOfThem(t *testing.T) {
	bubble(t, func(b *bench) {
		b.handle = func(context.Context, *task.Run) error { return nil }
		b.many(3)
		g := b.serve(b.store)
		time.Sleep(time.Second)
		g.Stop(nil)
		if r := g.Wait(); len(r.Notes) != 0 {
			t.Errorf("%+v", r.Notes)
		}
	})
}
