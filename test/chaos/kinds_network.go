//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/proxy"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// networkKinds are faults between a process and PostgreSQL.
func networkKinds() []kind {
	kinds := []kind{
		{name: "net-cut", what: "The connections of a worker are cut.", scope: oneWorker, timing: instant(restart), do: netCut},
		{name: "net-cut-client", what: "The connections of a client are cut.", scope: oneClient, timing: instant(restart), do: netCut},
		{name: "net-cut-bytes", what: "Each connection of a worker is cut after a few bytes, in one direction.", scope: oneWorker,
			timing: withArg(between(time.Second, 3*time.Second, restart), 4000), do: netCutBytes},
		{name: "net-cut-bytes-client", what: "Each connection of a client is cut after a few bytes, in one direction.", scope: oneClient,
			timing: withArg(between(time.Second, 3*time.Second, restart), 4000), do: netCutBytes},
		{name: "net-hole", what: "A worker's bytes are held back for less than its lease, in one direction or both.", scope: oneWorker,
			timing: withArg(between(300*time.Millisecond, lease/2, restart), 3), do: netHole},
		{name: "net-hole-long", what: "A worker's bytes are held back for longer than its lease, in one direction or both.", scope: oneWorker,
			timing: withArg(between(lease+lease/2, 2*lease, restart), 3), do: netHole},
		{name: "net-delay", what: "A worker's round trips take 80 ms more.", scope: oneWorker, timing: between(3*time.Second, 6*time.Second, restart), do: netDelay},
		{name: "net-lose-answers", what: "Connections of a worker are cut when the server has committed, before the worker gets the answer.", scope: oneWorker,
			timing: withArg(between(time.Second, 3*time.Second, restart), 6), do: netLoseAnswers},
		{name: "net-lose-answers-client", what: "Connections of a client are cut when the server has committed, before the client gets the answer.", scope: oneClient,
			timing: withArg(between(time.Second, 3*time.Second, restart), 6), do: netLoseAnswers},
		{name: "net-lose-cancels", what: "A worker's connections are cut after a few bytes, and its requests to cancel are lost.", scope: oneWorker,
			timing: withArg(between(time.Second, 3*time.Second, restart), 4000), do: netLoseCancels},
		{name: "net-refuse", what: "A worker's connections are cut, and new ones refused.", scope: oneWorker, timing: between(500*time.Millisecond, 2*lease, restart), do: netRefuse},
		{name: "net-cut-all", what: "The connections of all workers are cut.", scope: allWorkers, timing: instant(restart), do: netCutAll},
	}
	for i := range kinds {
		kinds[i].store = postgres
	}
	return kinds
}

// withArg adds a random number below n to a timing.
func withArg(of func(*rand.Rand) timing, n int) func(*rand.Rand) timing {
	return func(r *rand.Rand) timing {
		t := of(r)
		t.arg = r.IntN(n)
		return t
	}
}

// onNetwork makes a fault in the network of the slot's process. If the fault is long enough, the
// process may be considered dead.
func onNetwork(ctx context.Context, r *run, f Fault, begin func(front string) (end func() int)) error {
	s := r.slot(f.Slot)
	s.fault.Lock()
	defer s.fault.Unlock()
	p, err := s.serving(ctx)
	if err != nil {
		return err
	}
	e := history.Fault{ID: f.ID, Kind: f.Kind, Victims: []string{p.name}, Cut: f.Kind != "net-delay"}
	over := e
	r.rec.add(history.Event{Fault: &e})
	end := begin(s.name)
	wire.Pause(ctx, time.Duration(f.For))
	over.Over, over.Detail, over.Victims = true, times(end()), s.since(p)
	r.rec.add(history.Event{Fault: &over})
	return nil
}

func times(n int) string { return fmt.Sprintf("it has hit %d times", n) }

func netCut(ctx context.Context, r *run, f Fault) error {
	return onNetwork(ctx, r, f, func(front string) func() int {
		n := r.net.Cut(front)
		return func() int { return n }
	})
}

func netCutBytes(ctx context.Context, r *run, f Fault) error {
	return onNetwork(ctx, r, f, func(front string) func() int { return r.net.CutAfter(anyByte(f), front) })
}

// anyByte chooses a direction and a byte, again for each connection.
func anyByte(f Fault) func() (proxy.Direction, int64) {
	rng := rand.New(rand.NewPCG(uint64(f.ID), uint64(f.Arg)))
	return func() (proxy.Direction, int64) {
		return proxy.Direction(rng.IntN(2)), rng.Int64N(int64(f.Arg) + 1)
	}
}

func netHole(ctx context.Context, r *run, f Fault) error {
	return onNetwork(ctx, r, f, func(front string) func() int { return r.net.BlackHole(f.Arg != 1, f.Arg != 2, front) })
}

func netDelay(ctx context.Context, r *run, f Fault) error {
	const oneWay = 40 * time.Millisecond
	return onNetwork(ctx, r, f, func(front string) func() int { return r.net.Delay(oneWay, oneWay, front) })
}

func netLoseAnswers(ctx context.Context, r *run, f Fault) error {
	return onNetwork(ctx, r, f, func(front string) func() int { return r.net.LoseAnswers(f.Arg+1, front) })
}

func netLoseCancels(ctx context.Context, r *run, f Fault) error {
	return onNetwork(ctx, r, f, func(front string) func() int {
		cuts, cancels := r.net.CutAfter(anyByte(f), front), r.net.LoseCancels(front)
		return func() int { return cuts() + cancels() }
	})
}

func netRefuse(ctx context.Context, r *run, f Fault) error {
	return onNetwork(ctx, r, f, func(front string) func() int {
		end := r.net.Refuse(front)
		r.net.Cut(front)
		return end
	})
}

func netCutAll(ctx context.Context, r *run, f Fault) error {
	return each(ctx, r, f, func([]*process) error {
		r.net.Cut(names(r.workers)...)
		return nil
	})
}
