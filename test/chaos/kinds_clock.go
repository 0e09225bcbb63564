//go:build linux

package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

const clockForward = "clock-forward"

// clockKinds are faults that step the clock of a worker, never that of the machine.
func clockKinds() []kind {
	needs := func(r *run) error {
		if !r.opt.clock {
			return errors.New("the driver has no clock that can be stepped: build it with the go command that -toolchain makes, and say -clock")
		}
		return nil
	}
	step := func(by time.Duration) func(ctx context.Context, r *run, f Fault) error {
		return func(ctx context.Context, r *run, f Fault) error { return stepClock(ctx, r, f, by) }
	}
	lasts := between(2*time.Second, 6*time.Second, restart)
	return []kind{
		{name: clockForward, what: "The clock of a worker is an hour ahead.", scope: oneWorker, asked: true, timing: lasts, needs: needs, do: step(time.Hour)},
		{name: "clock-back", what: "The clock of a worker is an hour behind.", scope: oneWorker, asked: true, timing: lasts, needs: needs, do: step(-time.Hour)},
	}
}

// stepClock steps the clock of the slot's process, and later back. In a SQLite file the times are
// those of the workers; PostgreSQL has its own clock.
func stepClock(ctx context.Context, r *run, f Fault, by time.Duration) error {
	s := r.slot(f.Slot)
	s.fault.Lock()
	defer s.fault.Unlock()
	p, err := s.serving(ctx)
	if err != nil {
		return err
	}
	c := r.clocks[s.name]
	if c == nil {
		return errors.New("this worker is not the driver's")
	}
	e := history.Fault{ID: f.ID, Kind: f.Kind, Victims: []string{p.name}, Clocks: r.opt.store == sqlite}
	over := e
	over.Over = true
	r.rec.add(history.Event{Fault: &e})
	err = c.Set(by)
	if err == nil {
		wire.Pause(ctx, time.Duration(f.For))
	}
	err = errors.Join(err, c.Set(0))
	r.rec.add(history.Event{Fault: &over})
	return err
}

func (r *run) clockFile(slot string) string { return filepath.Join(r.scratch, "clock-"+slot) }

// setClocks steps the clocks of all workers. In a SQLite file these clocks are the store's clock.
func (r *run) setClocks(wrong time.Duration) (err error) {
	for _, c := range r.clocks {
		err = errors.Join(err, c.Set(wrong))
	}
	return err
}
