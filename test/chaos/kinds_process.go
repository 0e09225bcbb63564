//go:build linux

package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// The settings of a run.
const (
	lease  = 3 * time.Second        // of a worker
	grace  = 5 * time.Second        // as a worker knows it
	margin = 2 * time.Second        // the tolerance for a busy machine
	deploy = 200 * time.Millisecond // the grace of a deploy that gives too little
)

// restart is the pause after a process of a slot has ended.
const restart = 1500 * time.Millisecond

// processKinds are signals to the processes.
func processKinds() []kind {
	return []kind{
		{name: "kill", what: "SIGKILL to a worker.", scope: oneWorker, timing: instant(restart), do: kill},
		{name: "term", what: "SIGTERM to a worker that has enough time.", scope: oneWorker, timing: instant(restart), do: term},
		{name: "term-short", what: "SIGTERM to a worker, and SIGKILL before it can have finished.", scope: oneWorker,
			timing: between(0, 400*time.Millisecond, restart), do: termShort},
		{name: "term-thrice", what: "SIGTERM, SIGINT and SIGTERM to a worker, all at once.", scope: oneWorker, timing: instant(restart), do: termThrice},
		{name: "stop", what: "SIGSTOP to a worker for less than its lease, then SIGCONT.", scope: oneWorker,
			timing: between(200*time.Millisecond, lease/2, restart), do: stop},
		{name: "stop-long", what: "SIGSTOP to a worker for longer than its lease, then SIGCONT.", scope: oneWorker,
			timing: between(lease+lease/2, 2*lease, restart), do: stop},
		{name: "kill-node", what: "SIGKILL to all workers at once.", scope: allWorkers, timing: instant(2 * restart), do: killNode},
		{name: "deploy", what: "Every worker is replaced, one after the other, with a grace that is too short.", scope: allWorkers,
			timing: func(*rand.Rand) timing { return timing{lasts: 3 * time.Second, settle: restart} }, do: deployShort},
		{name: "kill-client", what: "SIGKILL to a client in the middle of a call.", scope: oneClient,
			timing: func(r *rand.Rand) timing { return timing{settle: restart, arg: r.IntN(20)} }, do: killClient},
	}
}

// hit makes a fault of the slot's process. It waits until one is ready, and records the beginning
// and the end of the fault.
func hit(ctx context.Context, r *run, f Fault, do func(p *process) error) error {
	s := r.slot(f.Slot)
	s.fault.Lock()
	defer s.fault.Unlock()
	p, err := s.serving(ctx)
	if err != nil {
		return err
	}
	r.beginFault(f, "", p.name)
	defer r.endFault(f, p.name)
	return do(p)
}

func kill(ctx context.Context, r *run, f Fault) error {
	return hit(ctx, r, f, func(p *process) error {
		p.kill()
		return nil
	})
}

func term(ctx context.Context, r *run, f Fault) error {
	return hit(ctx, r, f, func(p *process) error {
		p.terminate(grace, margin)
		return nil
	})
}

func termShort(ctx context.Context, r *run, f Fault) error {
	return hit(ctx, r, f, func(p *process) error {
		p.terminate(time.Duration(f.For), 0)
		return nil
	})
}

func termThrice(ctx context.Context, r *run, f Fault) error {
	return hit(ctx, r, f, func(p *process) error {
		p.signal(syscall.SIGTERM, grace)
		p.signal(syscall.SIGINT, grace)
		p.terminate(grace, margin)
		return nil
	})
}

func stop(ctx context.Context, r *run, f Fault) error {
	return hit(ctx, r, f, func(p *process) error {
		p.stop()
		defer p.resume()
		p.endsWithin(ctx, time.Duration(f.For))
		return nil
	})
}

// each makes a fault of all workers.
func each(ctx context.Context, r *run, f Fault, do func(some []*process) error) error {
	var (
		some  []*process
		names []string
	)
	for _, s := range r.workers {
		s.fault.Lock()
		defer s.fault.Unlock()
		p, err := s.serving(ctx)
		if err != nil {
			return err
		}
		some, names = append(some, p), append(names, p.name)
	}
	r.beginFault(f, "", names...)
	defer r.endFault(f, names...)
	return do(some)
}

func killNode(ctx context.Context, r *run, f Fault) error {
	return each(ctx, r, f, func(some []*process) error {
		var all sync.WaitGroup
		for _, p := range some {
			all.Go(p.kill)
		}
		all.Wait()
		return nil
	})
}

func deployShort(ctx context.Context, r *run, f Fault) error {
	return each(ctx, r, f, func(some []*process) error {
		for _, p := range some {
			p.terminate(deploy, 0)
			if !wire.Pause(ctx, (time.Duration(f.For)-time.Duration(len(some))*deploy)/time.Duration(len(some))) {
				return nil
			}
		}
		return nil
	})
}

// killClient kills the client a moment after it has received a call.
func killClient(ctx context.Context, r *run, f Fault) error {
	return hit(ctx, r, f, func(p *process) error {
		select {
		case <-p.peer.asked():
			wire.Pause(ctx, time.Duration(f.Arg)*500*time.Microsecond)
		case <-p.ended:
		case <-ctx.Done():
		}
		p.kill()
		return nil
	})
}

// beginFault and endFault record a fault.
func (r *run) beginFault(f Fault, detail string, victims ...string) {
	r.rec.add(history.Event{Fault: &history.Fault{ID: f.ID, Kind: f.Kind, Victims: victims, Detail: detail}})
}

func (r *run) endFault(f Fault, victims ...string) {
	r.rec.add(history.Event{Fault: &history.Fault{ID: f.ID, Kind: f.Kind, Victims: victims, Over: true}})
}
