package test

import (
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func TestSuspects_APoisonTaskAmongTenIsFoundAndItsNeighboursAreNotCharged(t *testing.T) {
	onBothStores(t, func(t *testing.T, store string) {
		f, pace := newFixture(t, store), longPace(t)
		poison := f.rng.IntN(10)
		t.Logf("the poison task is number %d", poison)
		n := 0
		f.enqueue(mortal, 10, func() work {
			w := work{Pace: pace}
			if n == poison { // before its neighbours are done
				w.Pace, w.Poison = pace/4, true
			}
			n++
			return w
		})
		deaths := 0
		p := f.start(job{Grace: patient, Slots: 10})
		for !f.ended(p) {
			deaths++
			p = f.start(job{Grace: patient, Slots: 10})
		}
		f.drain(p)
		// First two crashes with all tasks, then crashes with groups of five, of two or three, and of one
		// or two.
		if deaths < 5 || deaths > 6 {
			t.Errorf("the poison task has killed %d processes", deaths)
		}
		failed := 0
		for _, got := range f.tasks("") {
			switch got.Status {
			case task.StatusFailed:
				failed++
				if got.Crashes != 3 || got.Suspect() {
					t.Errorf("the failed one: %+v, error %q", got.Counters, got.Error)
				}
			case task.StatusSucceeded:
				if got.Crashes != 2 || got.CrashStreak != 2 || got.InterruptStreak != 0 {
					t.Errorf("a neighbour: %+v", got.Counters)
				}
			default:
				t.Errorf("a task is %s", got.Status)
			}
		}
		if failed != 1 {
			t.Errorf("%d tasks have failed", failed)
		}
	})
}

// longPace returns how long a task takes.
func longPace(t *testing.T) time.Duration {
	if testing.Short() {
		t.Log("make test-full: tasks of 4 s instead of 2")
		return 2 * time.Second
	}
	return 4 * time.Second
}

// ended waits until all tasks have ended, or a process has. It reports whether all tasks have.
func (f *fixture) ended(p *process) bool {
	f.t.Helper()
	for {
		select {
		case <-p.done:
			return false
		case <-time.After(50 * time.Millisecond):
			if f.unfinished() == 0 {
				return true
			}
		}
	}
}

func TestSuspects_TenThatAreInnocentAreDoneInTwoRounds(t *testing.T) {
	onBothStores(t, func(t *testing.T, store string) {
		f, pace := newFixture(t, store), longPace(t)
		f.enqueue(mortal, 10, func() work { return work{Pace: pace} })
		for range 2 {
			p := f.start(job{Grace: patient, Slots: 10})
			p.waitLines("begun task=", 10)
			f.kill(p)
		}
		p := f.start(job{Grace: patient, Slots: 10})
		p.waitLines("begun task=", 5)
		began := time.Now()
		if c := ask(f, f.client.Count); c.SuspectsWaiting+c.SuspectsRunning != 10 || c.SuspectsRunning != 5 {
			t.Errorf("%d suspects wait and %d run, want 5 and 5", c.SuspectsWaiting, c.SuspectsRunning)
		}
		f.until("all done", func() bool { return f.count(task.StatusSucceeded) == 10 })
		took := time.Since(began)
		t.Logf("ten suspects of %v took %v", pace, took)
		if took <= pace || took > 4*pace {
			t.Errorf("ten suspects of %v took %v: they ran neither all at once nor one by one, but in two groups", pace, took)
		}
		f.drain(p)
		for _, got := range f.tasks("") {
			if got.Crashes != 2 {
				t.Errorf("%+v", got.Counters)
			}
		}
	})
}
