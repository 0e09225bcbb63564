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
			g := newGround(t, server.DSN("postgres"))
			points := g.points
			g.points = 0 // of interruption, since there must be none
			j := job{Grace: patient, Slots: 12, Lease: 3 * time.Second}
			two := []*process{g.start(j), g.start(j)}
			g.until("two workers", func() bool { return len(g.workers()) == 2 })
			hit := 0
			for hit < points {
				g.until("some tasks running", func() bool {
					g.topUp(steps, 30, g.work)
					return g.count(task.StatusRunning) > 10
				})
				g.moment(500*time.Millisecond, two[0])
				hit += g.count(task.StatusRunning)
				g.outage(server, sig)
			}
			t.Logf("the server was gone in the middle of %d runs", hit)
			g.until("all tasks ended", func() bool { return g.unfinished() == 0 })
			g.drain(two[0])
			g.finish(two[1])
		})
	}
}

// outage stops the server and starts it again, at once or after longer than a lease. Meanwhile a
// client tries to enqueue a task, and again until it is accepted.
func (g *ground) outage(server *pgtest.Server, sig syscall.Signal) {
	g.t.Helper()
	id := newTaskID(g.rng)
	accepted := make(chan error)
	w := g.work()
	go func() {
		for {
			_, err := steps.Enqueue(g.t.Context(), g.client, w, &task.EnqueueOptions{ID: id})
			if err == nil || !pause(g.t.Context(), 20*time.Millisecond) {
				accepted <- err
				return
			}
		}
	}()
	err := server.Stop(sig)
	if g.rng.IntN(4) == 0 {
		pause(g.t.Context(), 4*time.Second) // the outage itself
	}
	err = errors.Join(err, server.Start(), <-accepted)
	if err != nil {
		g.t.Fatal(err)
	}
	g.accepted[id] = true
}
