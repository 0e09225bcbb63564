package task_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
)

// mortal serves a bench one process after the other, each of which can be killed.
type mortal struct {
	*bench
	store  *faultyStore // of the present process
	groups []*lastcall.Group
	deaths int
}

// begin starts the next process.
func (m *mortal) begin() {
	m.store = &faultyStore{Store: m.bench.store}
	m.groups = append(m.groups, m.serve(m.store))
}

// kill ends the present process, and starts the next one.
func (m *mortal) kill(worker string) {
	m.deaths++
	m.store.cut(true)
	m.bench.store.Kill(worker)
	m.begin()
}

// killTwice has the process of some tasks killed twice, so that they are suspects.
func (m *mortal) killTwice(ids []string) {
	m.t.Helper()
	for range 2 {
		time.Sleep(time.Second)
		synctest.Wait()
		m.kill(m.get(ids[0]).Worker)
	}
}

func (m *mortal) stop() {
	for _, g := range m.groups {
		g.Stop(nil)
		g.Wait()
	}
}

func TestSuspicion_APoisonTaskIsSoonAloneAndItsNeighboursAreNotCharged(t *testing.T) {
	for n := range 10 {
		t.Run(fmt.Sprint("place ", n), func(t *testing.T) {
			bubble(t, func(b *bench) {
				m := &mortal{bench: b}
				poison := make(chan string)
				var ids []string
				b.handle = func(ctx context.Context, r *task.Run) error {
					if r.ID() == ids[n] {
						time.Sleep(time.Second)
						poison <- r.Task().Worker
						<-ctx.Done()
						return ctx.Err()
					}
					time.Sleep(4 * time.Second)
					return nil
				}
				ids = b.many(10)
				m.begin()
				for b.get(ids[n]).Status != task.StatusFailed {
					select {
					case worker := <-poison:
						m.kill(worker)
					case <-time.After(time.Minute):
						t.Fatalf("after %d deaths nobody is killed: %+v", m.deaths, b.get(ids[n]))
					}
					time.Sleep(time.Second)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				// Ten become groups of five, and five become three, two, one at most.
				if m.deaths < 2+1+2 || m.deaths > 2+1+3 {
					t.Errorf("%d deaths until the poison task was given up", m.deaths)
				}
				b.want(ids[n], task.StatusFailed, "", 0, m.deaths-3, 3)
				for i, id := range ids {
					if i == n {
						continue
					}
					if got := b.get(id); got.Status != task.StatusSucceeded || got.Crashes != 2 || got.CrashStreak != 2 || got.InterruptStreak != 0 {
						t.Errorf("neighbour %d is %s with %+v, error %q", i, got.Status, got.Counters, got.Error)
					}
				}
				m.stop()
			})
		})
	}
}

func TestSuspicion_TenInnocentSuspectsAreDoneInTwoRounds(t *testing.T) {
	bubble(t, func(b *bench) {
		b.handle = func(context.Context, *task.Run) error { time.Sleep(4 * time.Second); return nil }
		ids := b.many(10)
		m := &mortal{bench: b}
		m.begin()
		m.killTwice(ids)
		began := time.Now()
		for b.count(task.StatusSucceeded) < len(ids) {
			if time.Since(began) > 11*time.Second {
				t.Fatalf("after %v: %v", time.Since(began), b.statuses())
			}
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(began); took < 8*time.Second {
			t.Errorf("ten suspects took %v: they did not run in two groups", took)
		}
		m.stop()
	})
}

func TestSuspicion_ANewCheckpointMakesRoomForTheNextGroup(t *testing.T) {
	bubble(t, func(b *bench) {
		save := false
		b.handle = func(ctx context.Context, r *task.Run) error {
			if save {
				if err := r.Save(ctx, 1); err != nil {
					return err
				}
			}
			<-ctx.Done()
			return ctx.Err()
		}
		ids := b.many(10)
		m := &mortal{bench: b}
		m.begin()
		m.killTwice(ids)
		time.Sleep(10 * time.Second)
		if n := b.count(task.StatusRunning); n != 5 {
			t.Errorf("%d suspects run, want those of a group of 5", n)
		}
		if c, err := b.client.Count(t.Context()); err != nil || c.SuspectsRunning != 5 || c.SuspectsWaiting != 5 {
			t.Errorf("%+v, %v", c, err)
		}
		save = true
		m.kill(b.get(ids[0]).Worker) // a group of three or two begins, and clears itself: all run
		time.Sleep(time.Minute)
		if n := b.count(task.StatusRunning); n != 10 {
			t.Errorf("%d run after they have saved a new checkpoint: %v", n, b.statuses())
		}
		for _, id := range ids {
			if got := b.get(id); got.Suspect() || got.CrashStreak != 0 || got.Crashes != 2 {
				t.Errorf("%+v", got)
			}
		}
		m.stop()
	})
}

func TestSuspicion_ItsNameIsReadAsItIsWritten(t *testing.T) {
	for _, s := range []task.Suspicion{0, 1, 0xabc, 1<<48 - 1} {
		if got, err := task.ParseSuspicion(s.String()); err != nil || got != s {
			t.Errorf("%q was read as %q, %v", s, got, err)
		}
	}
	for _, name := range []string{"x", "1", "-00000000001", "00000000000A", "000000000000"} {
		if got, err := task.ParseSuspicion(name); err == nil {
			t.Errorf("%q was read as %q", name, got)
		}
	}
}
