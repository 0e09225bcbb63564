//go:build linux

package main

import (
	"math/rand/v2"
	"testing"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

func TestProgress_WhatTheStoreMayHaveLostIsNoBacklog(t *testing.T) {
	p := newProgress()
	enqueue := func(seqs ...int) {
		var plans []history.Plan
		a := history.Answer{Outcome: history.Done}
		for _, seq := range seqs {
			plans = append(plans, history.Plan{Seq: seq})
			a.IDs = append(a.IDs, "id")
		}
		p.enqueued(plans, a)
	}
	enqueue(1, 2, 3)
	p.effect(history.Effect{Seq: 1, Step: history.Finished})
	if n := p.backlog(); n != 2 {
		t.Errorf("%d tasks are to be done, want 2", n)
	}
	p.forget()
	p.effect(history.Effect{Seq: 2, Step: history.Begun}) // the store still had it
	enqueue(4)
	if n := p.backlog(); n != 1 {
		t.Errorf("%d tasks are to be done after a loss, want that which came later", n)
	}
}

func TestProgress_WhatIsDeletedHasEndedAndIsDeletedOnce(t *testing.T) {
	p, rng := newProgress(), rand.New(rand.NewPCG(1, 2))
	p.enqueued([]history.Plan{{Seq: 1}, {Seq: 2}, {Seq: 3}}, history.Answer{Outcome: history.Done, IDs: []string{"one", "two", "three"}})
	if seq, id := p.pick(rng, history.Delete); id != "" {
		t.Errorf("task %d (%s) is to be deleted, and none has ended", seq, id)
	}
	p.effect(history.Effect{Seq: 1, Step: history.Finished})
	p.ended(2)
	seen := make(map[string]bool)
	for range 2 {
		seq, id := p.pick(rng, history.Delete)
		seen[id] = true
		p.deleted(seq)
	}
	if _, id := p.pick(rng, history.Delete); id != "" || !seen["one"] || !seen["two"] {
		t.Errorf("deleted %v, then %q", seen, id)
	}
}
