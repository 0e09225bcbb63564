package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// crowded is a store that counts very many kinds and queues. The number of tasks grows with each
// count.
type crowded struct {
	task.Store
	asked atomic.Int64
	slow  time.Duration
}

const crowd = 5000

func (c *crowded) Count(_ context.Context, q task.CountQuery) (task.Counts, error) {
	n := c.asked.Add(1)
	time.Sleep(c.slow)
	tally := storekit.NewTally(q)
	for i := range crowd {
		tally.Add(task.Count{Queue: fmt.Sprintf("q%d", i), Kind: fmt.Sprintf("k%d", i), Status: task.StatusQueued, N: int(n)})
	}
	return tally.Counts(nil), nil
}

func TestCounts_OfVeryManyKindsAndQueuesAreBoundedAndAddUp(t *testing.T) {
	s := serve(t, Config{Store: &crowded{Store: memstore.New()}})
	var c counts
	s.into(s.ask("GET", "/v1/counts", ""), http.StatusOK, &c)
	sum := 0
	for _, n := range c.Tasks {
		sum += n.N
	}
	if len(c.Tasks) != maxLines+1 || sum != crowd {
		t.Errorf("%d lines with %d tasks, want %d with %d", len(c.Tasks), sum, maxLines+1, crowd)
	}
	var q struct{ Queues []queue }
	s.into(s.ask("GET", "/v1/queues", ""), http.StatusOK, &q)
	if len(q.Queues) != maxLines+1 || q.Queues[0].Name != task.OtherLines {
		t.Errorf("%d queues, the first is %+v", len(q.Queues), q.Queues[0])
	}
}

func TestCounts_AreCountedOnceForAllWhoAskAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &crowded{Store: memstore.New(), slow: time.Second}
		c := newCounter(store)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if _, err := c.count(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		// One that had begun, and one for the requests that came meanwhile.
		if n := store.asked.Load(); n != 2 {
			t.Errorf("the store was asked %d times by 100 at a time", n)
		}
		if _, err := c.count(t.Context()); err != nil || store.asked.Load() != 3 {
			t.Errorf("%v: an old answer was given", err)
		}
	})
}

func TestEvents_OnlyTheNewestCountsAreKept(t *testing.T) {
	store := &crowded{Store: memstore.New()}
	s := serve(t, Config{Store: store, PollInterval: time.Millisecond})
	l, _ := s.listen("")
	_ = l
	until(t, "there were many counts", func() bool {
		s.handler.hub.mu.Lock()
		defer s.handler.hub.mu.Unlock()
		return s.handler.hub.newest > s.handler.hub.first+4
	})
	s.handler.hub.mu.Lock()
	defer s.handler.hub.mu.Unlock()
	kept, bytes := 0, 0
	for _, e := range s.handler.hub.ring {
		if e.kind == EventCounts && e.data != nil {
			kept, bytes = kept+1, bytes+len(e.data)
		}
	}
	if kept != 1 || bytes > 1<<20 {
		t.Errorf("%d counts of %d bytes are kept", kept, bytes)
	}
}

func TestSubmit_WithKnownKindsOnlyRefusesAKindThatNobodyKnows(t *testing.T) {
	s := serve(t, Config{KnownKindsOnly: true})
	s.refused(s.ask("POST", "/v1/tasks", `{"kind": "k", "payload": 1}`), "unknown-kind", "no running worker knows the kind")
	var mux task.Mux
	task.Handle(&mux, task.Kind[any]{Name: "k"}, nothing)
	s.work(&mux, nil)
	until(t, "the worker's kind is accepted", func() bool {
		return s.ask("POST", "/v1/tasks", `{"kind": "k", "payload": 1}`).status == http.StatusCreated
	})
	lines := s.batch(`{"kind": "k", "payload": 1}` + "\n" + `{"kind": "other", "payload": 1}` + "\n")
	if len(lines) != 2 || lines[0].Problem != nil || lines[1].Problem == nil || !strings.HasSuffix(lines[1].Problem.Type, "#unknown-kind") {
		t.Errorf("%+v", lines)
	}
	if _, err := s.client("").Enqueue(t.Context(), "other", []byte("1"), nil); err == nil || !strings.Contains(err.Error(), "no running worker") {
		t.Errorf("the client: %v", err)
	}
}
