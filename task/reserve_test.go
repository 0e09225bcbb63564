package task

import (
	"fmt"
	"testing"
	"time"
)

func TestReserve_KeepsAQuarterOfTheSlotsAtTheStartAndWhileANeighbourStops(t *testing.T) {
	start := time.Now()
	for _, c := range []struct {
		slots, resumed int
		stopping       bool
		after          time.Duration
		want           int
	}{
		{12, 0, false, 0, 3}, {12, 2, false, 0, 1}, {12, 5, false, 0, 0}, {12, 0, false, reserveAtStart - 1, 3}, {12, 0, false, reserveAtStart, 0},
		{12, 0, true, time.Hour, 3}, {12, 3, true, time.Hour, 0}, {3, 0, true, time.Hour, 1}, {2, 1, true, time.Hour, 0}, {10, 0, true, 0, 2},
		{1, 0, false, 0, 1}, {1, 0, true, 0, 1}, {1, 0, true, reserveAtStart, 0},
	} {
		r := reserve{slots: c.slots, started: start, stopping: c.stopping, resumed: c.resumed}
		if got := r.kept(start.Add(c.after)); got != c.want {
			t.Errorf("%+v: %d slots are kept", c, got)
		}
	}
	if got := (&reserve{slots: 12}).kept(start); got != 0 {
		t.Errorf("a worker without neighbours keeps %d slots", got)
	}
}

func TestReserve_TheYoungestTakeOverFromThoseThatStop(t *testing.T) {
	start := time.Now()
	// all returns workers for letters, the oldest first: r runs, p runs and has paused its kinds, s
	// stops, d is dead and has stopped, g is gone, o stops and has another kind, q stops and has
	// another queue.
	all := func(letters string) (workers []WorkerInfo) {
		for i, letter := range letters {
			w := WorkerInfo{Beat: Beat{Worker: fmt.Sprint(i), State: WorkerRunning, Kinds: []string{"k", "l"}, Queues: []string{"a"}},
				Since: start.Add(time.Duration(i/2) * time.Second)} // two at a time
			switch letter {
			case 'p':
				w.Paused = []PausedKind{{Kind: "k"}, {Kind: "l"}}
			case 's':
				w.State, w.Queues = WorkerStopping, nil
			case 'd':
				w.State, w.Dead = WorkerStopping, true
			case 'g':
				w.State, w.Liveness = WorkerStopping, LivenessDead
			case 'o':
				w.State, w.Kinds = WorkerStopping, []string{"other"}
			case 'q':
				w.State, w.Queues = WorkerStopping, []string{"other"}
			}
			workers = append(workers, w)
		}
		return workers
	}
	for letters, want := range map[string]string{
		"r": "-", "srp": "-T-", "srrpp": "--T--", "rrr": "---", "srrr": "---T", "rrsr": "--" + "-T", "srsrr": "---TT", "sssr": "---T", "rsrr": "---T", "rrrs": "--T-",
		"drr": "---", "grr": "---", "orr": "---", "qrr": "---", "srro": "--T-", "ssrrrr": "----TT",
	} {
		got := ""
		workers := all(letters)
		for i := range workers {
			n := neighboursOf(workers[i].Worker, workers)
			switch {
			case n.takeOver && letters[i] == 'r':
				got += "T"
			default:
				got += "-"
			}
			if n.some && letters == "r" {
				t.Error("the only worker has neighbours")
			}
		}
		if got != want {
			t.Errorf("of %s those that take over are %s, want %s", letters, got, want)
		}
	}
	if n := neighboursOf("0", all("ro")); n.some {
		t.Error("one that has no kind in common is a neighbour")
	}
	if n := neighboursOf("unknown", all("rs")); n.takeOver || !n.some {
		t.Errorf("a worker that is not registered: %+v", n)
	}
}

func TestReserve_SlotsThatAreKeptAreAskedForWhenNoOtherIsFree(t *testing.T) {
	var mux Mux
	mux.kinds = map[string]*entry{"k": {policy: policy{name: "k"}}}
	s := slots{limit: 12}
	now := time.Now()
	s.begin(now)
	wants := func(want int, interrupted bool) {
		t.Helper()
		if most, only, _ := s.wanted(&mux, now); most != want || only != interrupted {
			t.Errorf("%d are asked for, interrupted ones only: %v; want %d, %v", most, only, want, interrupted)
		}
	}
	wants(9, false)
	var all []*Run
	for n := range 9 {
		all = append(all, numbered(n))
		all[n].claimed = now
		s.acquire(all[n])
	}
	wants(3, true)
	resumed := numbered(9)
	resumed.task.Reason, resumed.claimed = ReasonStop, now
	s.acquire(resumed)
	wants(2, true)
	s.release(all[0], now)
	s.forget(all[:1])
	wants(1, false)
	s.release(resumed, now)
	s.forget([]*Run{resumed})
	wants(1, false)
	if s.meet(neighbours{some: true}) || !s.meet(neighbours{}) {
		t.Error("a worker that is alone keeps slots")
	}
	wants(4, false)
	if s.meet(neighbours{some: true, takeOver: true}) {
		t.Error("fewer slots are kept when a neighbour stops")
	}
	wants(1, false)
	s.prefetch.pace = 1
	if most, only, _ := s.wanted(&mux, now); most < 4 || only {
		t.Errorf("where tasks are prefetched slots are kept: %d, %v", most, only)
	}
}
