package test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

func TestOutage_ARestartOfPostgresInterruptsNobodyAndLosesNothing(t *testing.T) {
	for name, sig := range map[string]syscall.Signal{"fast": syscall.SIGINT, "immediate": syscall.SIGQUIT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := pgtest.New(t, "fsync=off")
			f := newFixture(t, server.DSN("postgres"))
			points := f.points
			f.points = 0 // of interruption: there must be none
			j := job{Grace: patient, Slots: 12, Lease: 3 * time.Second}
			two := []*process{f.start(j), f.start(j)}
			f.until("two workers", func() bool { return len(f.workers()) == 2 })
			hit := 0
			for hit < points {
				f.until("some tasks running", func() bool {
					f.topUp(steps, 30, f.work)
					return f.count(task.StatusRunning) > 10
				})
				f.moment(500*time.Millisecond, two[0])
				hit += f.count(task.StatusRunning)
				f.outage(server, sig)
			}
			t.Logf("the server was gone in the middle of %d runs", hit)
			f.until("all tasks ended", func() bool { return f.unfinished() == 0 })
			f.drain(two[0])
			f.finish(two[1])
		})
	}
}

// outage stops the server and starts it again, either at once or after longer than a lease.
// Meanwhile a client tries to enqueue a task, and repeats that until it is accepted.
func (f *fixture) outage(server *pgtest.Server, sig syscall.Signal) {
	f.t.Helper()
	id := newTaskID(f.rng)
	accepted := make(chan error)
	w := f.work()
	go func() {
		for {
			_, err := steps.Enqueue(f.t.Context(), f.client, w, &task.EnqueueOptions{ID: id})
			if err == nil || !pause(f.t.Context(), 20*time.Millisecond) {
				accepted <- err
				return
			}
		}
	}()
	err := server.Stop(sig)
	if f.rng.IntN(4) == 0 {
		pause(f.t.Context(), 4*time.Second) // the outage itself
	}
	err = errors.Join(err, server.Start(), <-accepted)
	if err != nil {
		f.t.Fatal(err)
	}
	f.accepted[id] = true
}
