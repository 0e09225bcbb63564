package task_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// evict makes the present process stop, kills it a moment later, and starts the next one.
func (m *mortal) evict(worker string) {
	m.groups[len(m.groups)-1].Stop(nil)
	time.Sleep(50 * time.Millisecond)
	m.kill(worker)
}

// A task that fills the disk of its pod gets the pod evicted: the process gets SIGTERM, and is
// killed before it can hand anything over.
func TestEvicted_ATaskThatEndsItsProcessesIsSoonAloneWaitsAndFailsAtTheTenth(t *testing.T) {
	for _, n := range []int{0, 4, 9} {
		t.Run(fmt.Sprint("place ", n), func(t *testing.T) {
			bubble(t, func(b *bench) {
				m := &mortal{bench: b}
				full := make(chan string)
				var ids []string
				b.handle = func(ctx context.Context, r *task.Run) error {
					if r.ID() == ids[n] {
						time.Sleep(time.Second)
						full <- r.Task().Worker
						<-ctx.Done()
						return ctx.Err()
					}
					time.Sleep(4 * time.Second)
					return nil
				}
				ids = b.many(10)
				m.begin()
				var at []time.Time
				for b.get(ids[n]).Status != task.StatusFailed {
					select {
					case worker := <-full:
						at = append(at, time.Now())
						m.evict(worker)
					case <-time.After(time.Hour):
						t.Fatalf("after %d evictions nobody is evicted: %+v", m.deaths, b.get(ids[n]))
					}
					if m.deaths == 3 {
						time.Sleep(500 * time.Millisecond)
						if got := b.get(ids[n]); !got.Suspect() || got.Crashes != 0 {
							t.Errorf("after the third it is %+v", got.Counters)
						}
					}
					time.Sleep(time.Second)
				}
				// Three deaths of all, one of a group of ten, three or four more until the task is alone, and
				// then up to the tenth.
				got := b.get(ids[n])
				if got.InterruptStreak != 10 || got.Crashes != 0 || m.deaths > 15 || !strings.Contains(got.Error, "was its one suspect") {
					t.Errorf("after %d evictions it is %s with %+v: %s", m.deaths, got.Status, got.Counters, got.Error)
				}
				if wait := at[len(at)-1].Sub(at[len(at)-2]); wait < 5*time.Minute {
					t.Errorf("the last two are %v apart", wait)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				for i, id := range ids {
					if i == n {
						continue
					}
					if got := b.get(id); got.Status != task.StatusSucceeded || got.Crashes != 0 || got.Attempts != 0 {
						t.Errorf("neighbour %d is %s with %+v, error %q", i, got.Status, got.Counters, got.Error)
					}
				}
				m.stop()
			})
		})
	}
}

func TestEvicted_IsNoSuspectWhileItGetsOnOrItsStopsLeaveItTime(t *testing.T) {
	for name, c := range map[string]struct {
		saves  bool
		stops  int // orderly ones first
		evicts int
		limit  int
		want   bool
		streak int
	}{
		"new checkpoints":                     {saves: true, evicts: 5},
		"two evictions":                       {evicts: 2, streak: 2},
		"three evictions":                     {evicts: 3, want: true, streak: 3},
		"a stop, and two evictions":           {stops: 1, evicts: 2, want: true, streak: 3},
		"five stops, and one eviction":        {stops: 5, evicts: 1, streak: 6},
		"four evictions, and a limit of five": {evicts: 4, limit: 5, want: true, streak: 4},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(b *bench) {
				b.kind.MaxInterruptions = c.limit
				saved, begun := 0, make(chan string)
				b.handle = func(ctx context.Context, r *task.Run) error {
					if c.saves {
						saved++
						if err := r.Save(ctx, saved); err != nil {
							return err
						}
					}
					begun <- r.Task().Worker
					<-ctx.Done()
					return ctx.Err()
				}
				id := b.enqueue()
				for range c.stops {
					g := b.serve(b.store)
					<-begun
					b.stop(g, 0)
				}
				m := &mortal{bench: b}
				m.begin()
				for range c.evicts {
					m.evict(<-begun)
				}
				<-begun
				got := b.get(id)
				if got.Suspect() != c.want || got.InterruptStreak != c.streak || got.Interruptions != c.stops+c.evicts || got.Crashes != 0 {
					t.Errorf("%+v, want a suspect: %t, with a streak of %d", got.Counters, c.want, c.streak)
				}
				m.stop()
			})
		})
	}
}

// A task that is alone in its process is evicted again and again: its kind says how often.
func TestEvicted_AsOftenAsItsKindSays(t *testing.T) {
	for limit, want := range map[int]struct {
		evictions int
		status    task.Status
		says      string
	}{
		-1:  {evictions: 30, status: task.StatusRunning},
		100: {evictions: 30, status: task.StatusRunning},
		0:   {evictions: 10, status: task.StatusFailed, says: "interruption 10 in a row without a new checkpoint, and this task was its one suspect"},
		12:  {evictions: 12, status: task.StatusFailed, says: "interrupted 12 times without a new checkpoint, the last time by deadline"},
		2:   {evictions: 2, status: task.StatusFailed, says: "interrupted 2 times without a new checkpoint, the last time by deadline"},
	} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			bubble(t, func(b *bench) {
				b.kind.MaxInterruptions = limit
				begun := make(chan string)
				b.handle = func(ctx context.Context, r *task.Run) error {
					begun <- r.Task().Worker
					<-ctx.Done()
					return ctx.Err()
				}
				id := b.enqueue()
				m := &mortal{bench: b}
				m.begin()
				// A run is seen by its handler and not in the store, where a dead worker's run goes on until
				// it is taken over.
				for n := range want.evictions {
					select {
					case worker := <-begun:
						m.evict(worker)
					case <-time.After(time.Hour):
						t.Fatalf("after %d evictions it is %+v", n, b.get(id))
					}
				}
				if want.status == task.StatusRunning {
					<-begun
				}
				time.Sleep(time.Minute)
				got := b.get(id)
				if got.Status != want.status || got.InterruptStreak != want.evictions || got.Interruptions != want.evictions || got.Crashes != 0 || !strings.Contains(got.Error, want.says) {
					t.Errorf("after %d evictions it is %s with %+v: %s", want.evictions, got.Status, got.Counters, got.Error)
				}
				m.stop()
			})
		})
	}
}
