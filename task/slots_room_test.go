package task

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// admit enters a run and checks the admission.
func (s *slots) admit(t *testing.T, n int, want admission) *Run {
	t.Helper()
	r := numbered(n)
	r.claimed = time.Now()
	if got := s.acquire(r); got != want {
		t.Fatalf("run %d: admission %d, want %d", n, got, want)
	}
	return r
}

// rooms checks for how many tasks there is room.
func (s *slots) rooms(t *testing.T, want int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if got, _ := s.room(time.Now()); got != want {
		t.Fatalf("room for %d, want %d", got, want)
	}
}

func TestSlots_ThereIsRoomForAsManyAsHaveReturnedWhileTheirEndsAreWritten(t *testing.T) {
	s := slots{limit: 2}
	s.rooms(t, 2)
	first, second := s.admit(t, 1, runBegins), s.admit(t, 2, runBegins)
	s.rooms(t, 0)
	s.release(first, time.Now())
	s.rooms(t, 1)
	third := s.admit(t, 3, runBegins)
	s.release(second, time.Now())
	s.release(third, time.Now())
	s.rooms(t, 0) // three ends are not written
	if !s.forget([]*Run{first, second}) {
		t.Error("the goroutine that claims waits for room, and is not told")
	}
	s.rooms(t, 1)
	if s.forget([]*Run{third}) {
		t.Error("the goroutine that claims is told, though it had room")
	}
	s.rooms(t, 2)
}

func TestSlots_WhereNoneIsKeptAClaimTakesTasksOfAnyStatusWhileHandlersReturn(t *testing.T) {
	const limit = 20
	var mux Mux
	for range 3000 {
		s := slots{limit: limit}
		var runs []*Run
		for n := range limit {
			runs = append(runs, s.admit(t, n, runBegins))
		}
		var done sync.WaitGroup
		done.Go(func() {
			for _, r := range runs {
				s.release(r, r.started)
			}
		})
		for s.running.Load() > 0 {
			if _, interrupted, _ := s.wanted(&mux, time.Now()); interrupted {
				t.Fatal("a claim is for interrupted tasks alone, though no slot is kept for them")
			}
		}
		done.Wait()
	}
}

func TestSlots_ARunWaitsForASlotInItsTurnAndIsRefusedAfterLastCall(t *testing.T) {
	s := slots{limit: 1}
	first := s.admit(t, 1, runBegins)
	second, third := s.admit(t, 2, runWaits), s.admit(t, 3, runWaits)
	if s.next(time.Now()) != nil {
		t.Fatal("there is no slot free")
	}
	if !s.release(first, time.Now()) {
		t.Error("a run waits, and release does not say so")
	}
	if r := s.next(time.Now()); r != second || r.started.IsZero() {
		t.Errorf("%+v, want the second run", r)
	}
	if waiting := s.dismiss(time.Hour); waiting != nil {
		t.Errorf("%d were dismissed after less than an hour", len(waiting))
	}
	if b := s.begun([]*Run{second, third}); len(b) != 1 || b[0] != second {
		t.Errorf("%d have begun, want the second", len(b))
	}
	s.close()
	if waiting := s.dismiss(0); len(waiting) != 1 || waiting[0] != third {
		t.Errorf("%d were dismissed, want the third", len(waiting))
	}
	s.admit(t, 4, runRefused)
	s.release(second, time.Now())
	s.admit(t, 5, runRefused) // though there is a slot
}

func TestSlots_AKindHasBoundsOfItsOwn(t *testing.T) {
	var mux Mux
	mux.kinds = map[string]*entry{"k": {policy: policy{name: "k", concurrency: 2}}, "l": {policy: policy{name: "l"}}}
	s := slots{limit: 5}
	var held []*Run
	for n, want := range []int{2, 1, 0} {
		most, _, kinds := s.wanted(&mux, time.Now())
		if most != 5-n || kinds[len(kinds)-1] != (KindClaim{Kind: "l", Max: 5 - n}) {
			t.Errorf("with %d of the kind: %d in all, %+v", n, most, kinds)
		}
		if want > 0 && (len(kinds) != 2 || kinds[0].Max != want) || want == 0 && len(kinds) != 1 {
			t.Errorf("with %d of the kind: %+v", n, kinds)
		}
		if want == 0 {
			break
		}
		r := numbered(n)
		r.policy = &policy{name: "k", concurrency: 2}
		s.acquire(r)
		held = append(held, r)
	}
	for _, r := range held {
		s.release(r, time.Now())
	}
	s.forget(held)
	if most, _, kinds := s.wanted(&mux, time.Now()); most != 5 || len(kinds) != 2 || kinds[0].Max != 2 {
		t.Errorf("in the end %d, %+v", most, kinds)
	}
}

func TestSlots_ARunThatIsOneTooManyOfItsKindWaitsForOneOfTheKind(t *testing.T) {
	s := slots{limit: 3}
	limited := &policy{name: "k", concurrency: 1}
	acquire := func(n int, p *policy, want admission) *Run {
		t.Helper()
		r := numbered(n)
		r.task.Kind, r.policy, r.claimed = p.name, p, time.Now()
		if got := s.acquire(r); got != want {
			t.Fatalf("run %d: admission %d, want %d", n, got, want)
		}
		return r
	}
	first := acquire(1, limited, runBegins)
	second := acquire(2, limited, runWaits) // though two slots are free
	other := acquire(3, &policy{name: "l"}, runWaits)
	if r := s.next(time.Now()); r != other {
		t.Fatalf("%+v, want the run of the other kind", r)
	}
	if r := s.next(time.Now()); r != nil {
		t.Fatalf("%+v: there are two of the kind", r)
	}
	if !s.release(first, time.Now()) {
		t.Error("a run waits, and release does not say so")
	}
	if r := s.next(time.Now()); r != second {
		t.Errorf("%+v, want the second run", r)
	}
}

func TestSlots_SuspectsOfOneGroupRunAtATime(t *testing.T) {
	s := slots{limit: 4}
	wants := func(most int, group Suspicion) {
		t.Helper()
		if m, g := s.wantedSuspects(); m != most || g != group {
			t.Errorf("%d suspects of the group %q are wanted, want %d of %q", m, g, most, group)
		}
	}
	suspect := func(n int, group Suspicion) *Run {
		r := numbered(n)
		r.suspect, r.task.Suspicion = true, group
		return r
	}
	wants(1, 0)
	first, second, plain := suspect(1, 7), suspect(2, 7), numbered(3)
	s.acquire(first)
	wants(3, 7)
	s.acquire(second)
	s.acquire(plain)
	wants(1, 7)
	s.acquire(suspect(4, 8)) // as a claim whose answer was lost may have it
	wants(1, 7)
	s.release(first, time.Now())
	wants(1, 7) // its end is not written
	s.forget([]*Run{first})
	wants(1, 7)
	for range 2 {
		if s.clearSuspect(second) {
			t.Error("the last one is said to be cleared, and there is another")
		}
	}
	s.forget([]*Run{second})
	s.release(plain, time.Now())
	wants(2, 7)
}

func TestSlots_ASuspectDoesNotWaitForASlot(t *testing.T) {
	s := slots{limit: 1}
	s.prefetch.pace = 9
	s.admit(t, 1, runBegins)
	s.admit(t, 2, runWaits)
	r := numbered(3)
	r.suspect, r.task.Suspicion = true, 7
	if got := s.acquire(r); got != runRefused || s.prefetch.goesOn() {
		t.Errorf("a suspect without a slot: %d, and prefetching goes on: %t", got, s.prefetch.goesOn())
	}
	s.forget([]*Run{r})
	if most, group := s.wantedSuspects(); most != 1 || group != 0 {
		t.Errorf("then %d of %q", most, group)
	}
}

// One goroutine claims, many return, and one dismisses: each run begins once or is released once.
func TestSlots_NoRunIsForgottenAndNoSlotIsTakenTwice(t *testing.T) {
	const limit, n = 4, 2000
	s := slots{limit: limit}
	var atOnce, most, begun, back atomic.Int64
	var all sync.WaitGroup
	var begin func(*Run)
	begin = func(r *Run) {
		begun.Add(1)
		all.Go(func() {
			most.Store(max(most.Load(), atOnce.Add(1)))
			atOnce.Add(-1)
			if s.release(r, time.Now()) {
				for next := s.next(time.Now()); next != nil; next = s.next(time.Now()) {
					begin(next)
				}
			}
			s.forget([]*Run{r})
		})
	}
	giveBack := func(runs ...*Run) {
		back.Add(int64(len(runs)))
		s.forget(runs)
	}
	all.Go(func() {
		for range 20 {
			giveBack(s.dismiss(0)...)
		}
	})
	for i := range n {
		r := numbered(i)
		r.claimed = time.Now()
		switch s.acquire(r) {
		case runBegins:
			begin(r)
		case runWaits:
			for next := s.next(time.Now()); next != nil; next = s.next(time.Now()) {
				begin(next)
			}
		case runRefused:
			giveBack(r)
		}
		if i == n/2 {
			s.close()
		}
	}
	giveBack(s.dismiss(0)...)
	all.Wait()
	giveBack(s.dismiss(0)...)
	if begun.Load()+back.Load() != n || most.Load() > limit {
		t.Errorf("%d began and %d were given back, of %d; %d at once, with %d slots", begun.Load(), back.Load(), n, most.Load(), limit)
	}
	if s.held != 0 || s.running.Load() != 0 {
		t.Errorf("in the end %d are held and %d run", s.held, s.running.Load())
	}
}
