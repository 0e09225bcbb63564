package pgstore

import (
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func TestClaim_CostsNothingForSuspectsThatWait(t *testing.T) {
	b := newRig(t)
	number := route{kind: "k", queue: "default"}.number()
	// suspects adds some of a group each, or all of one.
	suspects := func(first, last int, group int64) {
		mustExec(t, b.store, `with added as (
				insert into @.tasks (id, kind, queue, route, priority, payload)
				select ('00000000-0000-7000-9000-' || lpad(i::text, 12, '0'))::uuid, 'k', 'default', $3, 0, '{}' from generate_series($1::integer, $2::integer) i
				returning id, created
			)
			insert into @.ready (created, id, run_at, route, sort_priority, queued, suspicion, kind, queue, runs, crash_streak)
			select created, id, now(), $3, -1, false, case when $4::bigint > 0 then $4::bigint else 1000 + row_number() over () end, 'k', 'default', 2, 2 from added`,
			first, last, number, group)
	}
	requests := map[string]task.ClaimRequest{"no suspect": claimOf(10), "one of any group": claimOf(10), "those of a group": claimOf(10)}
	for name, req := range requests {
		if name != "no suspect" {
			req.Suspects = 9
		}
		if name == "those of a group" {
			req.Suspicion = 7
		}
		requests[name] = req
	}
	cost := func() map[string]int {
		t.Helper()
		pages := make(map[string]int)
		for name, req := range requests {
			b.store.scan.full = time.Time{} // so that it knows no route
			pieces, _ := b.store.scan.pieces(req)
			if _, _, err := b.store.poll(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			routes := b.store.scan.plan(req)
			if len(routes) != 1 {
				t.Fatalf("%s: %d routes", name, len(routes))
			}
			args := append(append([]any{workerKey("w"), int64(0), false}, pieceArgs(pieces)...), req.Suspects > 0 && req.Suspicion == 0, groupArg(req))
			pages[name] = buffers(t, b, b.store.q.Poll, args...) + buffers(t, b, b.store.q.Claim, b.store.claimArgs(req, routes)...)
		}
		return pages
	}
	b.add(task.NewTask{ID: testID(0)})
	suspects(1, 3, 7)
	before := cost()
	suspects(4, 100_000, 0)
	after := cost()
	t.Logf("pages of a poll and a claim: %v, and with many suspects %v", before, after)
	for name, pages := range after {
		if pages > before[name]+40 {
			t.Errorf("a poll and a claim of %s touch %d pages where 100,000 suspects wait, and %d where 3 do", name, pages, before[name])
		}
	}
}
