package pgstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

func TestRestart_AWorkerThatOnlyLostItsConnectionIsNotTakenForDead(t *testing.T) {
	dsn := migrated.DSN(t)
	a := openAt(t, Config{DSN: dsn, Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, a)
	b := openAt(t, Config{DSN: dsn})
	defer closed(t, b)
	runOne(t, a)
	awaitRecorded(t, a)
	endSession(t, dsn, a)
	life := func() task.Liveness {
		all, err := b.Workers(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatalf("%+v, %v", all, err)
		}
		return all[0].Liveness
	}
	if got := life(); got == task.LivenessDead {
		t.Error("dead at the first reading")
	}
	awaitSession(t, a.session, func() bool { return !a.session.lost.IsZero() })
	awaitRecorded(t, a)
	if got := life(); got != task.LivenessAlive {
		t.Errorf("%s, with its session made again", got)
	}
	if _, err := b.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w", Evidence: true, Seq: 1, Max: 1}); !errors.Is(err, task.ErrWorkerAlive) {
		t.Errorf("Reclaim: %v", err)
	}
}

// awaitRecorded waits until the row of the worker w names a store's session.
func awaitRecorded(t *testing.T, s *Store) {
	t.Helper()
	awaitSession(t, s.session, func() bool { return s.session.recorded["w"] })
}

// endSession has the server end a store's session.
func endSession(t *testing.T, dsn string, s *Store) {
	t.Helper()
	exec(t, dsn, `select pg_terminate_backend(pid) from pg_stat_activity where application_name = '`+s.session.name+`'`)
}

// lose makes another worker see that the session of a worker is gone, while the store lives on.
func lose(t *testing.T, s *Store, worker string) {
	t.Helper()
	s.forgetWorker(worker)
	mustExec(t, s, `update @.workers set session = 'another' where id = $1`, worker)
}

func TestRestart_OfTheServerInterruptsNobodyAndLosesNothing(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]syscall.Signal{"fast": syscall.SIGINT, "immediate": syscall.SIGQUIT} {
		t.Run(name, func(t *testing.T) {
			server := pgtest.New(t, "fsync=off")
			team := startTeam(t, server.DSN("postgres"))
			client := team.client
			const count = 20
			for range count {
				if _, err := client.Enqueue(t.Context(), "k", []byte("1"), nil); err != nil {
					t.Fatal(err)
				}
			}
			for range count {
				<-team.running
			}
			if err := server.Stop(sig); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Find(t.Context(), task.Query{}); err == nil {
				t.Error("no error without a server")
			}
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			close(team.release)
			awaitSucceeded(t, client, count)
			team.stop()
			all, err := client.Find(t.Context(), task.Query{})
			if err != nil || len(all) != count {
				t.Fatalf("%d tasks, %v", len(all), err)
			}
			for _, got := range all {
				if got.Runs != 1 || got.Counters != (task.Counters{}) || string(got.Checkpoint) != "1" {
					t.Errorf("%s: %s", got.ID, fmt.Sprintf("%d runs, %+v, checkpoint %s", got.Runs, got.Counters, got.Checkpoint))
				}
			}
		})
	}
}

// team is two workers, each on its own store, whose handlers wait to be released and then save 1.
type team struct {
	client  *task.Client
	running chan string // the tasks that handlers have begun
	release chan struct{}
	end     context.CancelFunc
	workers sync.WaitGroup
}

func startTeam(t *testing.T, dsn string) *team {
	t.Helper()
	m := &team{running: make(chan string, 100), release: make(chan struct{})}
	var mux task.Mux
	task.Handle(&mux, task.Kind[int]{Name: "k", MaxAttempts: 1}, func(ctx context.Context, r *task.Run, _ int) error {
		m.running <- r.ID()
		select {
		case <-m.release:
			return r.Save(ctx, 1)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	ctx, end := context.WithCancel(t.Context())
	m.end = end
	t.Cleanup(end)
	quiet := slog.New(slog.DiscardHandler)
	for range 2 {
		s := openAt(t, Config{DSN: dsn, Migrate: true, Logger: quiet})
		t.Cleanup(func() { closed(t, s) })
		m.client = task.NewClient(s)
		w, err := task.NewWorker(task.WorkerConfig{Store: s, Mux: &mux, Logger: quiet, Lease: 2 * time.Second, Poll: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		m.workers.Go(func() {
			if err := w.Serve(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	return m
}

// stop ends the workers and waits for them.
func (m *team) stop() {
	m.end()
	m.workers.Wait()
}

// awaitSucceeded waits until count tasks have succeeded.
func awaitSucceeded(t *testing.T, client *task.Client, count int) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ctx := soon(t); ; {
		done, err := client.Find(ctx, task.Query{Status: task.StatusSucceeded})
		if ctx.Err() != nil {
			all, err := client.Find(t.Context(), task.Query{})
			t.Fatalf("not done: %+v, %v", all, err)
		}
		if err == nil && len(done) == count {
			return
		}
		<-tick.C
	}
}
