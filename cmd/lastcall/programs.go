package main

import (
	"context"
	"log/slog"
	"os"

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
func registerPrograms(mux *task.Mux, kinds []execkind.Kind, store task.Store, keeper *proc.Keeper, log *slog.Logger) *execkind.Runner {
	r := &execkind.Runner{Keeper: keeper, Logger: log}
	if s, ok := store.(lockKeeper); ok {
		r.InheritLock = s.InheritLock
	}
	for _, k := range kinds {
		r.Register(mux, k)
	}
	return r
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
