package pgstore

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// one claims a single task of the kind k, and returns its id.
func (b *rig) one() string {
	b.Helper()
	return b.claim(1)[0].ID
}

// late records tasks an hour before those that were recorded before, and announces nothing, as
// another process does whose transaction was open for long.
func (b *rig) late(n int, queue string) {
	b.Helper()
	mustExec(b.T, b.store, `insert into @.tasks (id, kind, queue, route, priority, payload) values ($1, 'k', $2, $3, 0, '')`, testID(n), queue, route{"k", queue}.number())
	mustExec(b.T, b.store, `insert into @.ready (id, created, kind, queue, route, sort_priority, run_at)
		select id, created, kind, queue, route, -1, now() - interval '1 hour' from @.tasks where id = $1`, testID(n))
}

func TestScan_GoesOnWhereTheLastClaimEndedAndMissesNothingForLong(t *testing.T) {
	b := newRig(t)
	b.fillReady(0, 1999, "default")
	mustExec(t, b.store, `update @.ready set run_at = run_at - interval '1 minute'`)
	if got := b.one(); got != testID(0) {
		t.Fatalf("claimed %s first", got)
	}
	if next := b.store.scan.cursors[route{"k", "default"}.number()].next; storekit.FormatID(next.id) != testID(0) {
		t.Errorf("the next claim goes on at %+v", next)
	}
	b.late(6000, "default")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); b.one() != testID(6000); <-tick.C {
		if since := time.Since(began); since > 2*fullAtMost { // where a claim takes long
			t.Fatalf("not found after %v", since)
		}
	}
}

func TestScan_FindsAnUrgentTaskAtOnce(t *testing.T) {
	b := newRig(t)
	b.fillReady(0, 99, "default")
	b.one()
	for n := 1; n < 4; n++ {
		b.add(task.NewTask{ID: testID(5000 + n), Priority: n})
		if got := b.one(); got != testID(5000+n) {
			t.Fatalf("claimed %s before the urgent one", got)
		}
		b.one()
	}
}

// neighbour opens the store of another process on the rig's database.
func (b *rig) neighbour() *Store {
	b.Helper()
	s := openAt(b.T, Config{DSN: b.store.pool.Config().ConnString(), Logger: slog.New(slog.DiscardHandler)})
	b.Cleanup(func() { closed(b.T, s) })
	return s
}

// news calls do, and waits until the rig's store has learned of something to claim since.
func (b *rig) news(do func()) {
	b.Helper()
	awaitUp(b.T, b.store)
	seen, err := b.store.Wait(b.Context(), task.Generations{})
	if err != nil {
		b.Fatal(err)
	}
	do()
	ctx := soon(b.T)
	for now := seen; now.Tasks == seen.Tasks; {
		if now, err = b.store.Wait(ctx, now); err != nil {
			b.Fatal(err)
		}
	}
}

func TestScan_FindsWhatAnotherProcessAnnounces(t *testing.T) {
	b := newRig(t)
	theirs := b.neighbour()
	add := func(n task.NewTask) {
		t.Helper()
		b.news(func() {
			if _, err := theirs.Add(t.Context(), []task.NewTask{n}); err != nil {
				t.Fatal(err)
			}
		})
	}
	b.fillReady(0, 99, "default")
	b.one()
	add(task.NewTask{ID: testID(5000), Kind: "k", Queue: "default", Priority: 9})
	if got := b.one(); got != testID(5000) {
		t.Errorf("claimed %s before the urgent task of another process", got)
	}
	add(task.NewTask{ID: testID(5001), Kind: "k", Queue: "never seen", Priority: 9})
	if got := b.one(); got != testID(5001) {
		t.Errorf("claimed %s before the urgent task in a queue of another process", got)
	}
	if got := claims(t, b.store, "new kind"); len(got) != 0 {
		t.Fatalf("claimed %v", got)
	}
	add(task.NewTask{ID: testID(5002), Kind: "new kind", Queue: "default"})
	if got := claims(t, b.store, "new kind"); !slices.Equal(got, []string{testID(5002)}) {
		t.Errorf("claimed %v, want the task of a kind that nobody had seen", got)
	}
}

// Its place is that of the transaction's begin: before tasks that have been claimed since.
func TestScan_FindsTheTaskOfATransactionThatWasOpenForLong(t *testing.T) {
	b := newRig(t)
	tx := b.begin()
	if _, err := b.store.AddTx(t.Context(), Tx(tx), []task.NewTask{{ID: testID(1), Kind: "k", Queue: "default"}}); err != nil {
		t.Fatal(err)
	}
	b.fillReady(10, 99, "default")
	b.one()
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.store.Wake()
	if got := b.one(); got != testID(1) {
		t.Errorf("claimed %s, want the task of the transaction", got)
	}
}

// Of two tasks that are recorded at the same time the one with the earlier place may become visible
// last.
func TestScan_FindsATaskAtOnceWhoseTransactionBeganBeforeThatOfTheLast(t *testing.T) {
	b := newRig(t)
	for n := range 5 {
		tx := b.begin()
		if _, err := b.store.AddTx(t.Context(), Tx(tx), []task.NewTask{{ID: testID(2 * n), Kind: "k", Queue: "default"}}); err != nil {
			t.Fatal(err)
		}
		b.add(task.NewTask{ID: testID(2*n + 1)})
		if got := b.one(); got != testID(2*n+1) {
			t.Fatalf("claimed %s", got)
		}
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.store.claimable(plainPriority)
		if got := claims(t, b.store, "k"); !slices.Equal(got, []string{testID(2 * n)}) {
			var age time.Duration
			if err := b.store.pool.QueryRow(t.Context(), `select now() - created from lastcall.tasks where id = $1`, testID(2*n)).Scan(&age); err != nil {
				t.Fatal(err)
			}
			if age < lateness { // on a busy machine it may have taken long
				t.Errorf("claimed %v, want a task that was recorded %v after it got its place", got, age)
			}
		}
	}
}

func TestCursor_GoesOnALittleBeforeTheEndOfAClaim(t *testing.T) {
	now := time.Now()
	at := func(ago time.Duration, id byte) position {
		return position{sortPriority: -1, queued: true, runAt: now.Add(-ago), id: [16]byte{id}}
	}
	for _, c := range []struct{ next, end, want position }{
		{front, at(time.Hour, 1), at(time.Hour, 1)},
		{front, at(0, 1), at(lateness, 0)},
		{at(time.Second, 1), at(0, 1), at(lateness, 0)},
		{at(lateness/2, 1), at(0, 1), at(lateness/2, 1)}, // it does not go back
	} {
		k := cursor{next: c.next}
		if k.goOn(c.end, now.Add(-lateness)); k.next != c.want || k.first != c.want {
			t.Errorf("from %+v to %+v: %+v", c.next, c.end, k.next)
		}
	}
}

// A worker that found nothing polls again only after a while.
func TestScan_FindsWhatNobodyHasAnnounced(t *testing.T) {
	b := newRig(t)
	if got := claims(t, b.store, "k"); len(got) != 0 {
		t.Fatalf("claimed %v", got)
	}
	b.late(1, "silent")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); len(claims(t, b.store, "k")) == 0; <-tick.C {
		if since := time.Since(began); since > fullAtMost {
			t.Fatalf("not found after %v", since)
		}
	}
}

// routesOf returns routes of the kind k in some queues, sorted by their numbers.
func routesOf(queues ...string) (all []found) {
	for i, queue := range queues {
		r := route{"k", queue}
		all = append(all, found{route: r, number: r.number(), first: position{sortPriority: -1, runAt: time.Unix(int64(i), 0)}})
	}
	slices.SortFunc(all, func(a, b found) int { return int(a.number>>1) - int(b.number>>1) })
	return all
}

// known returns a scan that has polled some routes of the kind k.
func known(queues ...string) *scan {
	s := new(scan)
	pieces, full := s.pieces(claimOf(1))
	s.polledAll(pieces, polled{all: routesOf(queues...)}, full, 0)
	return s
}

// claimEnded records a claim for n tasks that ended at some positions, long after the tasks there
// were recorded.
func (s *scan) claimEnded(n int, ends map[int64]position, all bool) {
	s.begin()
	s.claimed(s.plan(claimOf(n)), ends, time.Now().Add(time.Hour), all)
	s.end()
}

func queuesOf(all []cursor) (queues []string) {
	for _, c := range all {
		queues = append(queues, c.queue)
	}
	return queues
}

func TestScan_PollsFromWhereClaimsGoOnAndAllThatIsBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := known("a", "b")
		now := time.Now()
		next := position{sortPriority: -1, queued: true, runAt: now}
		s.claimEnded(1, map[int64]position{route{"k", "a"}.number(): next}, false)
		pieces, full := s.pieces(claimOf(1))
		if full || len(pieces) != 5 || pieces[0].first != firstRoute("k") || pieces[4].last != lastRoute("k") {
			t.Fatalf("full %v: %+v", full, pieces)
		}
		for i, p := range pieces {
			if i > 0 && p.first != pieces[i-1].last+1 {
				t.Errorf("between %d and %d there is a gap", pieces[i-1].last, p.first)
			}
			want := front
			if p.first == (route{"k", "a"}).number() {
				want = next
			}
			if p.from != want {
				t.Errorf("piece %d begins at %+v, want %+v", i, p.from, want)
			}
		}
		time.Sleep(fullEvery) // virtual
		pieces, full = s.pieces(claimOf(1))
		if !full || len(pieces) != 1 || pieces[0] != (piece{firstRoute("k"), lastRoute("k"), front}) {
			t.Errorf("after %v, full %v: %+v", fullEvery, full, pieces)
		}
	})
}

func TestScan_PollsOnlyTheQueuesThatAreAskedFor(t *testing.T) {
	req := claimOf(1)
	req.Kinds = append(req.Kinds, task.KindClaim{Kind: "no room"}, task.KindClaim{Kind: "other", Max: 1})
	req.Queues = []string{"a", "b"}
	pieces, _ := new(scan).pieces(req)
	var got []int64
	for _, p := range pieces {
		if p.first != p.last {
			t.Errorf("%+v is more than a route", p)
		}
		got = append(got, p.first)
	}
	want := []int64{route{"k", "a"}.number(), route{"k", "b"}.number(), route{"other", "a"}.number(), route{"other", "b"}.number()}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d, want %d", got, want)
	}
}

func TestScan_PollsLessOftenWhatTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct{ took, poll, full time.Duration }{
			{time.Millisecond, pollEvery, fullEvery},
			{50 * time.Millisecond, 500 * time.Millisecond, 5 * time.Second},
			{time.Minute, pollAtMost, fullAtMost},
		} {
			s := new(scan)
			if !s.needsPoll() {
				t.Fatal("a scan that knows nothing needs no poll")
			}
			pieces, full := s.pieces(claimOf(1))
			s.polledAll(pieces, polled{}, full, c.took)
			time.Sleep(c.poll - 1) // virtual
			early := s.needsPoll()
			time.Sleep(time.Nanosecond)
			if early || !s.needsPoll() {
				t.Errorf("a poll that took %v: needed before %v: %v", c.took, c.poll, early)
			}
			time.Sleep(c.full - c.poll - 1)
			_, early = s.pieces(claimOf(1))
			time.Sleep(time.Nanosecond)
			if _, full := s.pieces(claimOf(1)); early || !full {
				t.Errorf("a poll that took %v: from the front before %v: %v, then %v", c.took, c.full, early, full)
			}
		}
	})
}

func TestScan_PlansTheRoutesWhoseTasksComeFirst(t *testing.T) {
	s := known("a", "b", "c", "d")
	plan := func(n int) []string { return queuesOf(s.plan(claimOf(n))) }
	if got := plan(2); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%q", got)
	}
	// A route that was claimed from has a later task, or none: it does not count.
	s.claimEnded(2, map[int64]position{route{"k", "a"}.number(): {sortPriority: -1, runAt: time.Unix(0, 0)}}, false)
	if got := plan(2); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("after a claim %q", got)
	}
	// Once everything was taken there is nothing, until a poll has found something.
	s.claimEnded(2, nil, true)
	if got := plan(2); !slices.Equal(got, []string{"d"}) {
		t.Errorf("after all was taken %q", got)
	}
	pieces, full := s.pieces(claimOf(1))
	s.polledAll(pieces, polled{all: routesOf("c")}, full, 0)
	if got := plan(2); !slices.Equal(got, []string{"c"}) {
		t.Errorf("after a poll %q", got)
	}
	req := claimOf(2)
	req.Queues = []string{"a"}
	if got := s.plan(req); len(got) != 0 {
		t.Errorf("of another queue %q", queuesOf(got))
	}
	req = claimOf(2)
	req.Kinds = append(req.Kinds, task.KindClaim{Kind: "other", Max: 2})
	req.Kinds[0].Max = 0
	if got := s.plan(req); len(got) != 0 {
		t.Errorf("of another kind %q", queuesOf(got))
	}
}

// A kind with room for few tasks leaves the others their place.
func TestScan_PlansForEachKindAsManyRoutesAsItHasRoomFor(t *testing.T) {
	s := known("a", "b", "c")
	other := route{"other", "q"}
	s.polledAll(nil, polled{all: []found{{route: other, number: other.number(), first: position{sortPriority: 5}}}}, false, 0)
	req := claimOf(3)
	req.Kinds[0].Max = 1
	req.Kinds = append(req.Kinds, task.KindClaim{Kind: "other", Max: 3})
	if got := queuesOf(s.plan(req)); !slices.Equal(got, []string{"a", "q"}) {
		t.Errorf("%q", got)
	}
}

// A task that arrived while a claim was in progress may be before the place where the claim ended.
func TestScan_DoesNotStepOverWhatComesDuringAClaim(t *testing.T) {
	end := position{sortPriority: -1, queued: true, runAt: time.Now()}
	for _, c := range []struct {
		arrives int64
		over    bool
	}{{-1, true}, {0, true}, {-2, false}, {everything, false}} {
		s := known("a")
		number := route{"k", "a"}.number()
		s.begin()
		planned := s.plan(claimOf(1))
		s.arrived(c.arrives)
		s.claimed(planned, map[int64]position{number: end}, time.Now().Add(time.Hour), true)
		s.end()
		if got := s.cursors[number].next == end; got != c.over {
			t.Errorf("%d came: it goes on where it ended: %v", c.arrives, got)
		}
		if got := s.plan(claimOf(1)); len(got) != 1 || !s.needsPoll() {
			t.Errorf("%d came: %q is planned, poll %v", c.arrives, queuesOf(got), s.needsPoll())
		}
		// The next claim is not affected.
		s.claimEnded(1, map[int64]position{number: end}, true)
		if got := s.plan(claimOf(1)); len(got) != 0 || s.cursors[number].next != end {
			t.Errorf("%d had come before the claim: %q is planned", c.arrives, queuesOf(got))
		}
	}
}

func TestScan_GoesBackToTheFrontForWhatIsUrgent(t *testing.T) {
	s := known("a")
	number := route{"k", "a"}.number()
	end := position{sortPriority: -1, queued: true, runAt: time.Now()}
	s.claimEnded(1, map[int64]position{number: end}, false)
	if s.arrived(plainPriority); s.cursors[number].next != end {
		t.Error("a plain task had claims begin at the front")
	}
	if s.arrived(plainPriority - 1); s.cursors[number].next != front {
		t.Error("an urgent task did not have claims begin at the front")
	}
}

func TestPosition_IsComparedAsTheIndexIs(t *testing.T) {
	now := time.Now()
	sorted := []position{
		front,
		{sortPriority: -8, queued: true, runAt: now},
		{sortPriority: -1, runAt: now.Add(time.Hour)},
		{sortPriority: -1, queued: true, runAt: now},
		{sortPriority: -1, queued: true, runAt: now, id: [16]byte{1}},
		{sortPriority: -1, queued: true, runAt: now.Add(time.Second)},
		{sortPriority: 3, runAt: now},
	}
	for i, a := range sorted {
		for j, b := range sorted {
			if got, want := a.compare(b), i-j; (got < 0) != (want < 0) || (got > 0) != (want > 0) {
				t.Errorf("%d and %d: %d", i, j, got)
			}
		}
	}
}

// A store without a session receives no announcements, and must not rely on there being none.
func TestClaim_PollsEachTimeWhileNobodyCanAnnounceAnything(t *testing.T) {
	dsn := migrated.DSN(t)
	b := &rig{T: t, store: openAt(t, Config{DSN: dsn, Migrate: true, Logger: slog.New(slog.DiscardHandler)})}
	t.Cleanup(func() { closed(t, b.store) })
	b.store.session.close() // before it begins
	mustExec(t, b.store, b.store.q.RegisterWorker, workerKey("w"), "w", "", "", 0, []string{}, []string{}, 1,
		int64(time.Second/1000), int64(1), string(task.WorkerRunning))
	for n := range 3 {
		if got := claims(t, b.store, "k"); len(got) != 0 {
			t.Fatalf("claimed %v", got)
		}
		b.late(n, fmt.Sprint("queue ", n))
		b.store.scan.full = time.Time{}
		if got := claims(t, b.store, "k"); !slices.Equal(got, []string{testID(n)}) {
			t.Errorf("claimed %v, want %s", got, testID(n))
		}
	}
	if _, err := b.store.Claim(context.WithoutCancel(t.Context()), task.ClaimRequest{Worker: "unknown", Max: 1, Kinds: claimOf(1).Kinds}); err == nil {
		t.Error("a worker that is not registered may claim")
	}
}
