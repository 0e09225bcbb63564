package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"
	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/execkind"
	"github.com/lastcall-go/lastcall/internal/proc"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/sqlitestore"
)

// lockKeeper is a store that proves the life of a worker by a lock, which a process that works for
// the worker can hold too.
type lockKeeper interface {
	InheritLock(worker string) (*os.File, error)
}

var _ lockKeeper = (*sqlitestore.Store)(nil)

// registerPrograms makes the kinds of the configuration known, and returns who runs their programs.
func (s *service) registerPrograms(mux *task.Mux, store task.Store) *execkind.Runner {
	r := &execkind.Runner{Keeper: &s.keeper, Isolation: s.isolation, Cgroups: s.cgroups, Logger: s.log}
	if s, ok := store.(lockKeeper); ok {
		r.InheritLock = s.InheritLock
	}
	for _, k := range s.config.programs {
		r.Register(mux, k)
	}
	return r
}

// A server with programs has a thread for each of them that runs, and some for itself.
const (
	spareThreads = 16
	maxThreads   = 256
)

// confine closes this process to programs of its user, and finds out how programs can be kept apart
// from it and from each other.
func (s *service) confine() error {
	if err := confine.Undumpable(); err != nil {
		s.log.Warn("programs can read what this process has", "error", err)
	}
	if len(s.config.programs) == 0 {
		return nil
	}
	proc.ReserveThreads(min(cmp.Or(s.config.Concurrency, 10)+spareThreads, maxThreads))
	var err error
	s.isolation, err = execkind.FindIsolation(&s.keeper)
	if err != nil {
		s.log.Info("programs share this process's PID namespace", "reason", err)
	} else {
		s.log.Info("programs have PID namespaces of their own", "isolation", s.isolation.String()) // in JSON too
	}
	var limits []confine.Limits
	for _, k := range s.config.programs {
		if k.Limits != (confine.Limits{}) {
			limits = append(limits, k.Limits)
		}
	}
	if len(limits) == 0 {
		return nil
	}
	if s.cgroups, err = confine.FindCgroups(limits...); err != nil {
		return fmt.Errorf("limits of kinds: %w", err)
	}
	return nil
}

// sweep removes what dead runs have left, if there are programs.
func (s *service) sweep(g *lastcall.Group, r *execkind.Runner) error {
	if len(s.config.programs) == 0 {
		return nil
	}
	return g.Go("sweep", r.Sweep)
}

// queues says where the tasks of a kind wait that is submitted to this server.
func queues(kinds []execkind.Kind) map[string]string {
	all := make(map[string]string)
	for _, k := range kinds {
		all[k.Name] = k.Queue
	}
	return all
}

// keepOrphans looks after orphans where this process gets them, as PID 1 and with programs as
// handlers, until the function that it returns is called.
func keepOrphans(keeper *proc.Keeper, c config, log *slog.Logger) (end func()) {
	if len(c.programs) > 0 {
		if err := proc.BecomeSubreaper(); err != nil {
			log.Warn("what a killed shim leaves cannot be found", "error", err)
		}
	} else if os.Getpid() != 1 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := keeper.Run(ctx); err != nil {
			log.Warn("orphans are not looked after", "error", err)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
