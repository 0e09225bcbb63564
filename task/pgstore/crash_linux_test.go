package pgstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"testing"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

// Without synchronous commits the server forgets the last claims when it crashes: what it then counts up from is older
// than what workers have seen.
func TestARunNumberThatAWorkerHasSeenIsNotGivenAgainAfterTheServerHasCrashed(t *testing.T) {
	server := pgtest.New(t, "synchronous_commit=off", "bgwriter_lru_maxpages=0", "autovacuum=off")
	s := openAt(t, Config{DSN: server.DSN("postgres"), Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	if _, err := s.Heartbeat(t.Context(), task.Beat{Worker: "w", Seq: 1, State: task.WorkerRunning}); err != nil {
		t.Fatal(err)
	}
	const count = 20
	seen := &sightings{highest: make(map[string]int64), enough: make(chan struct{})}
	var news []task.NewTask
	for i := range count {
		id := fmt.Sprintf("00000000-0000-7000-8000-%012d", i)
		news = append(news, task.NewTask{ID: id, Kind: "k"})
		seen.highest[id] = 0
	}
	if _, err := s.Add(t.Context(), news); err != nil {
		t.Fatal(err)
	}
	exec(t, server.DSN("postgres"), `checkpoint`) // so much is not forgotten
	var writer int
	if err := s.pool.QueryRow(t.Context(), `select pid from pg_stat_activity where backend_type = 'walwriter'`).Scan(&writer); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(writer, syscall.SIGSTOP); err != nil { // what is committed from now on is not written
		t.Fatal(err)
	}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for ctx.Err() == nil && seen.claim(ctx, s) == nil {
			}
		})
	}
	select {
	case <-seen.enough:
	case <-soon(t).Done():
		t.Fatal("too few claims")
	}
	if err := errors.Join(syscall.Kill(writer, syscall.SIGKILL), server.Stop(syscall.SIGQUIT)); err != nil { // in the middle of claims
		t.Fatal(err)
	}
	stop()
	workers.Wait()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}

	forgotten := 0
	all, err := s.Find(t.Context(), task.Query{})
	if err != nil || len(all) != count {
		t.Fatalf("%d tasks, %v", len(all), err)
	}
	for _, one := range all {
		if one.Run < seen.highest[one.ID] {
			forgotten++
		}
		if one.Status == task.StatusRunning {
			if err := s.Apply(t.Context(), []task.Change{handOver(one)})[0]; err != nil {
				t.Error(err)
			}
		}
	}
	if forgotten == 0 {
		t.Error("the crash has lost no claim: this test shows nothing")
	}
	anew := make(map[string]int64)
	for ctx := soon(t); len(anew) < count; {
		got, err := s.Claim(ctx, task.ClaimRequest{Worker: "w", Max: count, Kinds: []task.KindClaim{{Kind: "k", Max: count}}})
		if err != nil {
			t.Fatalf("%v, with %d of %d tasks claimed again", err, len(anew), count)
		}
		for _, one := range got {
			anew[one.ID] = one.Run
		}
	}
	for id, run := range anew {
		if run <= seen.highest[id] {
			t.Errorf("%s: run %d after the crash, and a worker had seen %d", id, run, seen.highest[id])
		}
	}
}

// handOver is the change that makes a run's task claimable again.
func handOver(run task.Task) task.Change {
	return task.Change{Fence: task.Fence{Task: run.ID, Run: run.Run, Worker: "w"}, Status: task.StatusInterrupted, Reason: task.ReasonStop}
}

// sightings are the run numbers that workers have seen.
type sightings struct {
	mu      sync.Mutex
	highest map[string]int64
	claims  int
	enough  chan struct{}
}

// claim claims some tasks and hands them over again.
func (n *sightings) claim(ctx context.Context, s *Store) error {
	got, err := s.Claim(ctx, task.ClaimRequest{Worker: "w", Max: 3, Kinds: []task.KindClaim{{Kind: "k", Max: 3}}})
	if err != nil {
		return err
	}
	changes := make([]task.Change, len(got))
	n.mu.Lock()
	for i, one := range got {
		changes[i] = handOver(one)
		n.highest[one.ID] = max(n.highest[one.ID], one.Run)
		if n.claims++; n.claims == 300 {
			close(n.enough)
		}
	}
	n.mu.Unlock()
	for _, err := range s.Apply(ctx, changes) {
		if err != nil {
			return err
		}
	}
	return nil
}
