package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// RunFaults lets clients and workers use a store whose calls go wrong, and then checks what is
// still promised:
//
//   - Every accepted task has ended as it should, once, and none ran twice at a time.
//   - The counters agree with the history.
//   - Nothing is left running and no worker listed.
//   - A command that was sent again was applied once.
//
// The same story is repeated: tasks of every sort are enqueued, two workers run them
// while a client gives commands, both are stopped, a third is killed in the middle of its runs, and
// a fourth ends them. In each telling another call fails without doing anything, or loses its
// answer, or is slow: the first call of each method, the second, and so on up to the last; then the
// n-th calls of all methods together. If that takes too long, most bounds the tellings; 0 means no
// bound. The store of an Engine without Bubble is opened once, for all of them.
func RunFaults(t *testing.T, e Engine, most int) {
	if !e.Bubble {
		s := e.Open(t)
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		once := e
		once.Open = func(*testing.T) task.Store { return s }
		faults(t, once, most)
		return
	}
	faults(t, e, most)
}

func faults(t *testing.T, e Engine, most int) {
	plain := &plan{}
	if tell(t, e, 0, plain); t.Failed() {
		return // and with a fault it would be no better
	}
	for method := range methods {
		if plain.calls[method] == 0 {
			t.Errorf("the story has no call of %s", method)
		}
	}
	plans := together(slices.Max(slices.Collect(maps.Values(plain.calls))))
	if most <= 0 {
		plans = append(each(plain.calls), plans...)
	}
	plans = plans[:min(len(plans), cmp.Or(max(most, 0), len(plans)))]
	told, hit := 0, make(map[string]bool)
	for i, p := range plans {
		t.Run(p.String(), func(t *testing.T) { told++; tell(t, e, i+1, p) })
		for method := range p.hit {
			hit[method+" "+p.fault] = true
		}
	}
	for method := range methods {
		for fault := range kindsOfFault {
			if told == len(plans) && !hit[method+" "+fault] { // nobody chose some with -run
				t.Errorf("no call of %s was one that %s", method, fault)
			}
		}
	}
}

// tell tells the story once, in a bubble if the engine allows it.
func tell(t *testing.T, e Engine, nr int, p *plan) {
	t.Helper()
	inside := func(t *testing.T) {
		s := e.Open(t)
		story(t.Context(), t, s, func(worker string) {
			if e.Kill != nil {
				e.Kill(t, s, worker)
			}
		}, e.Kill != nil, nr, p)
		if e.Bubble {
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	}
	if e.Bubble {
		synctest.Test(t, inside)
		return
	}
	inside(t)
}

// methods are those that a plan can hit.
var methods = map[string]bool{"Add": true, "Claim": true, "Apply": true, "Heartbeat": true, "Workers": true, "Reclaim": true, "Find": true,
	"History": true, "Log": true, "Control": true, "Count": true, "Prune": true, "Wait": true}

// errFault is the error of a call that goes wrong.
var errFault = errors.New("storetest: a fault was planned here")

// kindsOfFault has what can go wrong. The delay is short compared with the workers' lease: no
// worker is taken for dead.
var kindsOfFault = map[string]Fault{
	"fails":            {Before: errFault},
	"loses its answer": {After: errFault},
	"is slow":          {Delay: 60 * time.Millisecond},
}

// plan is the fault of one telling: of the n-th call of one method, or of all.
type plan struct {
	method, fault string // no method: of all
	n             int    // 0: none

	mu    sync.Mutex
	calls map[string]int
	hit   map[string]bool
}

// String names the telling.
func (p *plan) String() string {
	return fmt.Sprintf("call %d of %s %s", p.n, cmp.Or(p.method, "every method"), p.fault)
}

// next is a FaultyStore's Plan.
func (p *plan) next(method string) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls == nil {
		p.calls, p.hit = make(map[string]int), make(map[string]bool)
	}
	p.calls[method]++
	if p.calls[method] != p.n || p.method != "" && p.method != method {
		return Fault{}
	}
	p.hit[method] = true
	return kindsOfFault[p.fault]
}

// each plans a fault of each kind for each call of each method.
func each(calls map[string]int) (all []*plan) {
	for _, method := range slices.Sorted(maps.Keys(calls)) {
		for n := range calls[method] {
			for _, fault := range slices.Sorted(maps.Keys(kindsOfFault)) {
				all = append(all, &plan{method: method, fault: fault, n: n + 1})
			}
		}
	}
	return all
}

// together plans faults of all methods at their n-th calls: for every one of the first n, and then
// for ever fewer.
func together(most int) (all []*plan) {
	for n, next := 1, 2; n <= most; n, next = next, n+next {
		for _, fault := range slices.Sorted(maps.Keys(kindsOfFault)) {
			all = append(all, &plan{fault: fault, n: n})
		}
	}
	return all
}

// mortal is a process's view of the store; it ends with the process.
type mortal struct {
	*FaultyStore
	mu   sync.Mutex
	dead bool
}

func newMortal(s task.Store, p *plan) *mortal {
	m := &mortal{}
	m.FaultyStore = &FaultyStore{Store: s, Plan: func(method string) Fault {
		m.mu.Lock()
		dead := m.dead
		m.mu.Unlock()
		if dead {
			return Fault{Before: task.ErrClosed}
		}
		return p.next(method)
	}}
	return m
}

func (m *mortal) die() {
	m.mu.Lock()
	m.dead = true
	m.mu.Unlock()
}

// poll calls ok until it returns true, and complains if ctx ends before.
func poll(ctx context.Context, tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			tb.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}
