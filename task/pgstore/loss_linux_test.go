package pgstore

import (
	"errors"
	"log/slog"
	"slices"
	"syscall"
	"testing"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

// forgetful is a cluster whose crash loses what was committed since remember was called.
type forgetful struct {
	*testing.T
	server *pgtest.Server
	writer int
}

func newForgetful(t *testing.T) *forgetful {
	return &forgetful{T: t, server: pgtest.New(t, "synchronous_commit=off", "bgwriter_lru_maxpages=0", "autovacuum=off")}
}

func (f *forgetful) remember(s *Store) {
	f.Helper()
	exec(f.T, f.server.DSN("postgres"), `checkpoint`)
	if err := s.pool.QueryRow(f.Context(), `select pid from pg_stat_activity where backend_type = 'walwriter'`).Scan(&f.writer); err != nil {
		f.Fatal(err)
	}
	// What is committed from now on is not written.
	if err := syscall.Kill(f.writer, syscall.SIGSTOP); err != nil {
		f.Fatal(err)
	}
}

// kill crashes the server.
func (f *forgetful) kill() {
	f.Helper()
	if err := errors.Join(syscall.Kill(f.writer, syscall.SIGKILL), f.server.Stop(syscall.SIGQUIT)); err != nil {
		f.Fatal(err)
	}
}

// crash crashes the server, and starts it again. Afterwards the stores have working connections.
func (f *forgetful) crash(stores ...*Store) {
	f.Helper()
	f.kill()
	if err := f.server.Start(); err != nil {
		f.Fatal(err)
	}
	for _, s := range stores {
		s.pool.Reset()
		awaitUp(f.T, s)
	}
}

// open opens a store, and registers a worker in it.
func (f *forgetful) open(worker string) *rig {
	f.Helper()
	r := &rig{T: f.T, store: openAt(f.T, Config{DSN: f.server.DSN("postgres"), Migrate: true, Logger: slog.New(slog.DiscardHandler)})}
	f.Cleanup(func() { closed(f.T, r.store) })
	if _, err := r.store.Heartbeat(f.Context(), task.Beat{Worker: worker, Seq: 1, State: task.WorkerRunning}); err != nil {
		f.Fatal(err)
	}
	return r
}

// After commits were lost the server assigns the same numbers again, for other tasks and runs than
// those that a process remembers.
func TestLostCommits_MisdirectNothing(t *testing.T) {
	t.Parallel()
	f := newForgetful(t)
	a, b := f.open("a"), f.open("b")
	claim := func(of *rig, worker string, kinds ...string) []task.Task {
		t.Helper()
		req := task.ClaimRequest{Worker: worker, Max: 100}
		for _, kind := range kinds {
			req.Kinds = append(req.Kinds, task.KindClaim{Kind: kind, Max: 100})
		}
		of.store.Wake()
		got, err := of.store.Claim(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	add := func(to *rig, n int, r route) {
		t.Helper()
		if _, err := to.store.Add(t.Context(), []task.NewTask{{ID: testID(n), Kind: r.kind, Queue: r.queue}}); err != nil {
			t.Fatal(err)
		}
	}
	const count = 60
	a.fillReady(0, count-1, "default")
	f.remember(a.store)
	lost := claim(a, "a", "k")
	add(a, 1000, route{"charge", "cards"}) // a queue that the server does not know after the crash
	if len(lost) != count {
		t.Fatalf("claimed %d", len(lost))
	}
	f.crash(a.store, b.store)
	if n := a.number(`select count(*) from lastcall.running`); n != 0 {
		t.Fatalf("%d of the claims are still there: this test shows nothing", n)
	}

	add(b, 2000, route{"mail", "letters"})
	add(a, 1000, route{"charge", "cards"}) // again, as a client does that is not sure
	theirs := claim(b, "b", "k")
	if len(theirs) != count {
		t.Fatalf("%d were claimed again", len(theirs))
	}
	var fences []task.Fence
	for i := range lost {
		fences = append(fences, success(lost[i]).Fence)
	}
	reply, err := a.store.Heartbeat(t.Context(), task.Beat{Worker: "a", Seq: 2, State: task.WorkerRunning, Runs: fences, ListsAllRuns: true})
	if err != nil || len(reply.Lost) != count || len(reply.Missing) != 0 {
		t.Errorf("lost %d, unlisted %d, %v", len(reply.Lost), len(reply.Missing), err)
	}
	for i, err := range a.store.Apply(t.Context(), changes(success, lost)) {
		if !errors.Is(err, task.ErrLeaseLost) {
			t.Errorf("%s: %v", lost[i].ID, err)
		}
	}
	if n := b.number(`select count(*) from lastcall.running`); n != count {
		t.Errorf("%d of the new claims are left", n)
	}
	b.end(theirs...)
	for id, kind := range map[string]string{testID(1000): "charge", testID(2000): "mail"} {
		if got := ids(claim(b, "b", kind)); !slices.Equal(got, []string{id}) {
			t.Errorf("of the kind %s: %v, want %s", kind, got, id)
		}
	}
	b.counts(map[task.Status]int{task.StatusSucceeded: count, task.StatusRunning: 2})
}

// A worker that had an end confirmed has no reason to ask for it: so the store reports the restart
// with each beat, until a beat lists all runs.
func TestLostCommits_ABeatSaysThatTheServerHasRestarted(t *testing.T) {
	t.Parallel()
	f := newForgetful(t)
	a := f.open("a")
	seq := uint64(1)
	beat := func(complete bool) task.BeatReply {
		t.Helper()
		seq++
		reply, err := a.store.Heartbeat(t.Context(), task.Beat{Worker: "a", Seq: seq, State: task.WorkerRunning, ListsAllRuns: complete})
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	a.fillReady(0, 0, "default")
	got, err := a.store.Claim(t.Context(), task.ClaimRequest{Worker: "a", Max: 1, Kinds: []task.KindClaim{{Kind: "k", Max: 1}}})
	if err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	f.remember(a.store)
	a.end(got...)
	if beat(false).Restarted {
		t.Error("restarted, before the crash")
	}
	f.crash(a.store)
	for range 2 {
		if !beat(false).Restarted {
			t.Error("not restarted, after the crash")
		}
	}
	if reply := beat(true); reply.Restarted || !slices.Equal(ids(reply.Missing), []string{got[0].ID}) {
		t.Errorf("the complete beat was answered with %+v", reply)
	}
	if beat(false).Restarted {
		t.Error("restarted, after the complete beat")
	}
}
