package pgstore

import (
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// fillExpired inserts tasks into ready that were not claimed in time.
func (b *rig) fillExpired(n int) {
	b.Helper()
	mustExec(b.T, b.store, `with added as (
			insert into @.tasks (id, kind, queue, route, priority, payload, created, start_before)
			select ('00000000-0000-7000-a000-' || lpad(i::text, 12, '0'))::uuid, 'k', 'default', $1, 0, '{}', now() - interval '1 hour', now() - interval '1 minute'
			from generate_series(1, $2::integer) i returning id, created, start_before
		), counted as (
			insert into @.counts (kind, queue, status, delta) values ('k', 'default', 'added', $2::integer)
		)
		insert into @.ready (created, id, run_at, route, sort_priority, kind, queue, start_before) select created, id, created, $1, ~0, 'k', 'default', start_before from added`,
		route{kind: "k", queue: "default"}.number(), n)
}

func TestClaim_CostsNoMoreWhereManyTasksHaveExpired(t *testing.T) {
	b := newRig(t)
	req := claimOf(3)
	cost := func() int {
		t.Helper()
		routes := b.store.scan.plan(req)
		if len(routes) != 1 {
			t.Fatalf("%d routes are known", len(routes))
		}
		return buffers(t, b, b.store.q.Claim, b.store.claimArgs(req, routes)...)
	}
	b.fillReady(0, 19, "default")
	if _, _, err := b.store.poll(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	before := cost()
	b.store.expiry.mu.Lock()
	b.store.expiry.at = time.Now().Add(time.Hour) // only polls look for expired tasks
	b.store.expiry.mu.Unlock()
	const expired = 30_000
	b.fillExpired(expired)
	b.store.scan.full = time.Time{} // the next poll begins at the front
	if all, _, err := b.store.poll(t.Context(), req); err != nil || len(all) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	after := cost()
	t.Logf("pages of a claim: %d, and with many expired tasks before the others %d", before, after)
	if after > before+40 {
		t.Errorf("a claim touches %d pages where %d tasks have expired, and %d where none has", after, expired, before)
	}
	if left := b.number(b.store.sql(`select count(*) from @.ready where start_before is not null`)); left >= expired || left == 0 {
		t.Errorf("%d are left: a poll ends a part of them where there is something to claim", left)
	}
	for range expired/expireMost + 1 {
		if got, err := b.store.Claim(t.Context(), req); err != nil || len(got) > 0 && len(got[0].ID) == 0 {
			t.Fatalf("claimed %+v, %v", got, err)
		}
		b.store.scan.polled = time.Time{}
	}
	b.counts(map[task.Status]int{task.StatusCancelled: expired, task.StatusRunning: 20})
}

func TestExpire_AProcessWhoseWorkersAreBusyDoesItToo(t *testing.T) {
	b := newRig(t)
	b.fillExpired(10)
	b.store.routines.Go(b.store.expireTasks) // as where a worker registers
	b.until(`select count(*) = 10 from @.ended where status = 'cancelled' and reason = 'expired'`)
}

func TestPause_WithWhatRunsWaitsForAClaimThatIsUnderWay(t *testing.T) {
	b := newRig(t)
	b.fillReady(0, 1, "default")
	first := b.claim(1)[0]
	req := claimOf(1)
	tx := b.begin() // a claim whose statement has not ended
	if _, err := tx.Exec(t.Context(), b.store.q.Claim, b.store.claimArgs(req, b.store.scan.plan(req))...); err != nil {
		t.Fatal(err)
	}
	paused := make(chan error, 1)
	go func() {
		paused <- b.store.Control(t.Context(), task.Command{Verb: task.VerbPause, Queue: "default", Running: true})
	}()
	b.untilWaiting(1)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-paused; err != nil {
		t.Fatal(err)
	}
	if n := b.number(b.store.sql(`select count(*) from @.running where command = 'interrupt'`)); n != 2 {
		t.Errorf("%d of 2 runs were asked", n)
	}
	b.apply(interruption, first)
}

func TestPause_ARunThatATransactionHasIsNamedAndTheOthersAreAsked(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	b.fillReady(0, 2, "default")
	got := b.claim(3)
	tx := b.begin()
	if err := b.store.FinishTx(t.Context(), Tx(tx), success(got[1])); err != nil {
		t.Fatal(err)
	}
	pause := task.Command{Verb: task.VerbPause, Queue: "default", Running: true}
	err := b.store.Control(t.Context(), pause)
	if err == nil || !strings.Contains(err.Error(), got[1].ID) || !strings.Contains(err.Error(), "commit it or roll it back") {
		t.Errorf("%v", err)
	}
	asked := func(want int) {
		t.Helper()
		if n := b.number(b.store.sql(`select count(*) from @.running where command = 'interrupt'`)); n != want {
			t.Errorf("%d runs were asked, want %d", n, want)
		}
	}
	asked(2)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.store.Control(t.Context(), pause); err != nil {
		t.Error(err)
	}
	asked(3)
}
