package pgstore

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

func TestAClaimBeginsWhereTheOneBeforeEndedAndMissesNothingForLong(t *testing.T) {
	dsn := pgtest.DSN(t)
	s := openAt(t, Config{DSN: dsn, Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	add := func(n, priority int) {
		t.Helper()
		if _, err := s.Add(t.Context(), []task.NewTask{{ID: testID(n), Kind: "k", Queue: "default", Priority: priority}}); err != nil {
			t.Fatal(err)
		}
	}
	claim := func() string {
		t.Helper()
		got, err := s.Claim(t.Context(), task.ClaimRequest{Worker: "w", Max: 1, Kinds: []task.KindClaim{{Kind: "k", Max: 1}}})
		if err != nil || len(got) != 1 {
			t.Fatalf("%d tasks, %v", len(got), err)
		}
		return got[0].ID
	}
	if _, err := s.Heartbeat(t.Context(), task.Beat{Worker: "w", Seq: 1, State: task.WorkerRunning}); err != nil {
		t.Fatal(err)
	}
	for n := range 2000 {
		add(n, 0)
	}
	if got := claim(); got != testID(0) {
		t.Fatalf("claimed %s first", got)
	}
	begin := s.claimer.from(1)
	if begin.id != mustParse(t, testID(0)) {
		t.Errorf("the next claim begins at %+v", begin)
	}
	add(5000, 1)
	if got := claim(); got != testID(5000) {
		t.Errorf("claimed %s before the urgent one", got)
	}
	claim()
	// One that was recorded late in its place, by a process that has not said so.
	exec(t, dsn, `insert into lastcall.tasks (id, lane, priority, payload) values ('`+testID(6000)+`', 1, 0, '')`,
		`insert into lastcall.ready (rank, run_at, id, lane) values (-1, now() - interval '1 hour', '`+testID(6000)+`', 1)`)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); claim() != testID(6000); <-tick.C {
		if since := time.Since(began); since > 2*fullAtMost { // where a claim takes long
			t.Fatalf("not found after %v", since)
		}
	}
}

func mustParse(t *testing.T, id string) [16]byte {
	t.Helper()
	u, err := mustID(id)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestACountStartsNoOtherProcesses(t *testing.T) {
	s := openAt(t, Config{DSN: pgtest.DSN(t), Migrate: true})
	defer closed(t, s)
	rows, err := s.pool.Query(t.Context(), "explain "+s.q.count)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(plan, "\n"); strings.Contains(text, "Workers Planned") {
		t.Error(text)
	}
}

func TestALookThatFindsNothingBehindTheBoundLooksBeforeIt(t *testing.T) {
	dsn := pgtest.DSN(t)
	s := openAt(t, Config{DSN: dsn, Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	if _, err := s.Add(t.Context(), []task.NewTask{{ID: testID(1), Kind: "k", Queue: "default"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Heartbeat(t.Context(), task.Beat{Worker: "w", Seq: 1, State: task.WorkerRunning}); err != nil {
		t.Fatal(err)
	}
	claim := func() []task.Task {
		t.Helper()
		got, err := s.Claim(t.Context(), task.ClaimRequest{Worker: "w", Max: 1, Kinds: []task.KindClaim{{Kind: "k", Max: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := claim(); len(got) != 1 { // all that it asked for: there is a bound now
		t.Fatalf("%d tasks", len(got))
	}
	exec(t, dsn, `insert into lastcall.tasks (id, lane, priority, payload) values ('`+testID(2)+`', 1, 0, '')`,
		`insert into lastcall.ready (rank, run_at, id, lane) values (-1, now() - interval '1 hour', '`+testID(2)+`', 1)`)
	s.claimer.promoted = time.Time{} // it is time for a look
	if got := claim(); len(got) != 1 || got[0].ID != testID(2) {
		t.Errorf("claimed %v, want the task that was recorded late", got)
	}
}

func TestALookNoticesThatANeighboursLockIsFree(t *testing.T) {
	dsn := pgtest.DSN(t)
	ours, theirs := openAt(t, Config{DSN: dsn, Migrate: true}), openAt(t, Config{DSN: dsn})
	defer closed(t, ours)
	defer closed(t, theirs)
	for worker, s := range map[string]*Store{"w": ours, "n": theirs} {
		if _, err := s.Heartbeat(t.Context(), task.Beat{Worker: worker, Seq: 1, State: task.WorkerRunning}); err != nil {
			t.Fatal(err)
		}
	}
	gone := func() uint64 {
		t.Helper()
		ours.claimer.found() // so that it looks
		ours.claimer.set(false)
		ours.claimer.glanced = time.Time{}
		if got := claims(t, ours, "k"); len(got) != 0 {
			t.Fatal(got)
		}
		now, err := ours.Wait(t.Context(), task.Seen{})
		if err != nil {
			t.Fatal(err)
		}
		return now.Gone
	}
	before := gone()
	if again := gone(); again != before {
		t.Errorf("a neighbour that lives is said to be gone: %d, then %d", before, again)
	}
	theirs.session.unlock(t.Context(), "n")
	if after := gone(); after != before+1 {
		t.Errorf("a neighbour's lock is free, and the count of those that may be gone went from %d to %d", before, after)
	}
}
