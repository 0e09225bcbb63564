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

// lockKeeper is a store that proves that a worker is alive by a lock. A process that works for the
// worker can hold that lock too.
type lockKeeper interface {
	InheritLock(worker string) (*os.File, error)
}

var _ lockKeeper = (*sqlitestore.Store)(nil)

// registerPrograms registers the kinds of the configuration, and returns the runner of their
// programs.
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

// confine protects this process from programs that run as the same user, and finds out how programs
// can be isolated from it and from each other.
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
		// The log has the text in JSON too.
		s.log.Info("programs have PID namespaces of their own", "isolation", s.isolation.String())
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

// sweep removes what dead runs have left behind, if there are programs.
func (s *service) sweep(g *lastcall.Group, r *execkind.Runner) error {
	if len(s.config.programs) == 0 {
		return nil
	}
	return g.Go("sweep", r.Sweep)
}

// queues returns the queue of each kind, for tasks that are submitted to this server.
func queues(kinds []execkind.Kind) map[string]string {
	all := make(map[string]string)
	for _, k := range kinds {
		all[k.Name] = k.Queue
	}
	return all
}

// keepOrphans reaps orphans until the function that it returns is called. This process gets orphans
// when it is PID 1, and when programs are handlers.
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
			log.Warn("orphans are not reaped", "error", err)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
