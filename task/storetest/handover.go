package storetest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// interrupted adds a task that has been interrupted, by a worker that has joined.
func (t *T) interrupted(worker string, change ...func(*task.NewTask)) string {
	t.Helper()
	id := t.add(change...)
	t.tick()
	found := t.get(id)
	req := request(worker, 1)
	req.Kinds = []task.KindClaim{{Kind: found.Kind, Max: 1}}
	req.Queues = []string{found.Queue}
	got, err := t.Store.Claim(t.Context(), req)
	if err != nil || len(got) != 1 || got[0].ID != id {
		t.Fatalf("claimed %v, %v; want %s", ids(got), err, id)
	}
	c := task.Change{Fence: task.Fence{Task: id, Run: got[0].Run, Worker: worker}, Status: task.StatusInterrupted, Reason: task.ReasonStop, Counters: got[0].Counters}
	t.mustApply(c)
	return id
}

// of puts a new task into a queue, with a kind and a priority.
func of(kind, queue string, priority int) func(*task.NewTask) {
	return func(n *task.NewTask) { n.Kind, n.Queue, n.Priority = kind, queue, priority }
}

var handoverRules = []rule{
	{"38", "a claim of interrupted tasks only gives no other, whatever waits before them", func(t *T) {
		t.join("w")
		t.suspect(1, 0)
		low := t.interrupted("w", of("k", "low", -3))
		first := t.interrupted("w", of("k", "default", 0))
		second := t.interrupted("w", of("k", "second", 0))
		other := t.interrupted("w", of("other", "default", 9))
		paused := t.interrupted("w", of("k", "paused", 9))
		var queued []string
		for i := range 30 {
			queued = append(queued, t.add(of([]string{"k", "other"}[i%2], []string{"default", "low", "urgent"}[i%3], i%5)))
		}
		if err := t.Store.Control(t.Context(), task.Command{Verb: task.VerbPause, Queue: "paused"}); err != nil {
			t.Fatal(err)
		}
		t.claim("w", 1) // the store knows by now what waits
		claims := func(alter func(*task.ClaimRequest), want ...string) {
			t.Helper()
			req := request("w", 3)
			req.Interrupted, req.Suspects = true, 9
			alter(&req)
			got, err := t.Store.Claim(t.Context(), req)
			if err != nil || !slices.Equal(ids(got), want) {
				t.Errorf("claimed %v, %v; want %v", ids(got), err, want)
			}
			for _, g := range got {
				t.mustApply(change(g, task.StatusSucceeded))
			}
		}
		claims(func(req *task.ClaimRequest) { req.Queues = []string{"urgent", "paused"} })
		claims(func(req *task.ClaimRequest) { req.Queues = []string{"low", "urgent"} }, low)
		claims(func(req *task.ClaimRequest) { req.Max, req.Except = 1, []string{first} }, second)
		claims(func(req *task.ClaimRequest) {
			req.Kinds = append(req.Kinds, task.KindClaim{Kind: "other", Max: 2})
			req.Queues = []string{"default"}
		}, other, first)
		claims(func(*task.ClaimRequest) {})
		if err := t.Store.Control(t.Context(), task.Command{Verb: task.VerbResume, Queue: "paused"}); err != nil {
			t.Fatal(err)
		}
		claims(func(*task.ClaimRequest) {}, paused)
		for _, id := range queued[1:] {
			if got := t.get(id); got.Kind == "other" && got.Status != task.StatusQueued {
				t.Errorf("a queued task is %s", got.Status)
			}
		}
	}},
	{"38", "what is interrupted is found by the next claim of interrupted tasks, also after one that found none", func(t *T) {
		t.join("w")
		t.join("old")
		var held []task.Task
		for i := range 6 {
			t.add(of("k", fmt.Sprint("q", i%2), i%3))
		}
		for len(held) < 3 {
			held = append(held, t.claim("old", 1)...)
		}
		req := request("w", 10)
		req.Interrupted = true
		for _, h := range held {
			if got, err := t.Store.Claim(t.Context(), req); err != nil || len(got) != 0 {
				t.Fatalf("claimed %v, %v, and nothing is interrupted", ids(got), err)
			}
			t.mustApply(change(h, task.StatusInterrupted))
			if got, err := t.Store.Claim(t.Context(), req); err != nil || !slices.Equal(ids(got), []string{h.ID}) {
				t.Fatalf("claimed %v, %v; want %s", ids(got), err, h.ID)
			}
		}
		t.count("q0 k queued", 2, "q0 k running", 1, "q1 k queued", 1, "q1 k running", 2)
	}},
	{"39", "Wait hears of a stop that is announced", func(t *T) {
		t.join("w")
		before, err := t.Store.Wait(t.Context(), task.Generations{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := t.beat("w", 2, task.WorkerStopping); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		for now := before; now.Workers == before.Workers; {
			if now, err = t.Store.Wait(ctx, now); err != nil {
				t.Fatalf("Wait has not heard of the stop: %v", err)
			}
		}
	}},
}
