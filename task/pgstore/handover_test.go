package pgstore

import (
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

func TestClaim_OfInterruptedTasksCostsNothingForQueuedOnesThatWait(t *testing.T) {
	b := newRig(t)
	req := claimOf(3)
	req.Interrupted = true
	// The statements are planned while nothing waits, and keep their plans.
	cost := func() (pages int) {
		t.Helper()
		pieces := rangesOf(req)
		all, _, err := b.store.poll(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		var routes []cursor
		for _, f := range all {
			routes = append(routes, cursor{route: f.route, number: f.number, next: front})
		}
		args := append(append([]any{workerKey("w"), int64(0), false}, pieceArgs(pieces)...), false, (*int64)(nil))
		return buffers(t, b, b.store.q.PollInterrupted, args...) + buffers(t, b, b.store.q.ClaimInterrupted, b.store.claimArgs(req, routes)...)
	}
	for _, c := range b.many(4) {
		if err := b.store.Apply(t.Context(), []task.Change{interruption(c)})[0]; err != nil {
			t.Fatal(err)
		}
	}
	before := cost()
	mustExec(t, b.store, `with added as (
			insert into @.tasks (id, kind, queue, route, priority, payload)
			select ('00000000-0000-7000-9000-' || lpad(i::text, 12, '0'))::uuid, 'k', 'default', $1, 7, '{}' from generate_series(1, 100000) i
			returning id, created
		)
		insert into @.ready (created, id, run_at, route, sort_priority, kind, queue) select created, id, now(), $1, ~7, 'k', 'default' from added`,
		route{kind: "k", queue: "default"}.number())
	after := cost()
	t.Logf("pages of a poll and a claim: %d, and with many queued tasks before them %d", before, after)
	if after > before+40 {
		t.Errorf("a poll and a claim touch %d pages where 100,000 tasks wait before the interrupted ones, and %d where none does", after, before)
	}
	if got, err := b.store.Claim(t.Context(), req); err != nil || len(got) != 3 || got[0].Reason != task.ReasonStop {
		t.Errorf("claimed %+v, %v", got, err)
	}
}
