package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// countRequests makes a server count the requests for lists and for single tasks.
func countRequests(lists, tasks *atomic.Int64) func(*http.Server) {
	return func(srv *http.Server) {
		inner := srv.Handler
		srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method != http.MethodGet:
			case r.URL.Path == "/v1/tasks":
				lists.Add(1)
			case strings.HasPrefix(r.URL.Path, "/v1/tasks/"):
				tasks.Add(1)
			}
			inner.ServeHTTP(w, r)
		})
	}
}

func TestWait_HundredsOfOneClientShareTheirRequests(t *testing.T) {
	var lists, tasks atomic.Int64
	s := serve(t, Config{}, countRequests(&lists, &tasks))
	c := s.client("")
	const waiters = 250 // of three lists
	ids := make([]string, waiters)
	var all sync.WaitGroup
	for i := range ids {
		done, err := s.tasks.Enqueue(t.Context(), "k", []byte("1"), nil)
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = done.ID
		all.Go(func() {
			got, err := c.Wait(t.Context(), done.ID)
			if err != nil || got.ID != done.ID || got.Status != task.StatusCancelled || string(got.Payload) != "1" {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	// Each has waited for a second or so.
	until(t, "many looks", func() bool { return lists.Load() >= 30 })
	before := lists.Load()
	const span = 2 * time.Second
	time.Sleep(span)
	// One read is three lists, and there are one or two a second; without sharing there would be
	// hundreds.
	if n := lists.Load() - before; n == 0 || n > 30 {
		t.Errorf("%d lists in %v, for %d who wait", n, span, waiters)
	}
	if n := tasks.Load(); n != 0 {
		t.Errorf("%d tasks were asked for one by one while none has ended", n)
	}
	for _, id := range ids {
		if err := s.tasks.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
	if n := tasks.Load(); n != waiters {
		t.Errorf("%d tasks were asked for in the end, want each once: %d", n, waiters)
	}
}

func TestWait_EachIsToldOfItsOwnTaskAndErrors(t *testing.T) {
	onEachStore(t, func(t *testing.T, s *site) {
		c := s.client("")
		done, err := s.tasks.Enqueue(t.Context(), "k", []byte(`{"n":1}`), nil)
		if err != nil {
			t.Fatal(err)
		}
		var long sync.WaitGroup
		long.Go(func() { // goes on while others fail
			got, err := c.Wait(t.Context(), done.ID)
			if err != nil || got.Status != task.StatusCancelled || string(got.Payload) != `{"n":1}` {
				t.Errorf("%+v, %v", got, err)
			}
		})
		for _, id := range []string{someID, "x", strings.ToUpper(someID)} {
			var p *Problem
			if got, err := c.Wait(t.Context(), id); !errors.Is(err, task.ErrNotFound) || !errors.As(err, &p) || got.ID != "" {
				t.Errorf("%q: %+v, %v", id, got, err)
			}
		}
		why := errors.New("enough")
		short, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, why)
		defer cancel()
		if got, err := c.Wait(short, done.ID); !errors.Is(err, why) || got.ID != "" && got.Status != task.StatusQueued {
			t.Errorf("%+v, %v", got, err)
		}
		if err := s.tasks.Cancel(t.Context(), done.ID); err != nil {
			t.Fatal(err)
		}
		long.Wait()
		found, err := c.Find(t.Context(), task.Query{IDs: []string{someID, done.ID}})
		if err != nil || len(found) != 1 || found[0].ID != done.ID {
			t.Errorf("%+v, %v", found, err)
		}
	})
}
