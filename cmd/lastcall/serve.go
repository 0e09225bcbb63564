package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"
	"github.com/lastcall-go/lastcall/internal/proc"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
	"github.com/lastcall-go/lastcall/task/sqlitestore"
)

func newServe() *cobra.Command {
	var flags serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run tasks, and serve them on HTTP",
		Long: `Run tasks of a store, and serve the store on HTTP, until SIGTERM or SIGINT.

Then no more tasks are started. Running tasks go on until the grace is nearly used up. A task that
is not done by then is recorded as interrupted with its checkpoint, and the next server on the same
store resumes it. A second signal interrupts at once, a third ends the program. After a SIGKILL the
next server resumes the tasks too, from their last checkpoint.

SIGHUP is a stop like SIGTERM, unless there is a token file: then the server reads the file again.`,
		Example: `  lastcall serve --store sqlite:tasks.db --demo-kinds
  lastcall serve --store sqlite:tasks.db --listen :8321 --token-file tokens --probe-listen :8322
  lastcall serve --config lastcall.yaml --grace 60s`,
		Args: args(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.read(cmd)
			if err != nil {
				return err
			}
			return serve(cmd, c, flags)
		},
	}
	flags.define(cmd)
	return cmd
}

// serve runs until a stop, and returns the exit code of the group.
func serve(cmd *cobra.Command, c config, flags serveFlags) error {
	log, end := newLog(cmd.ErrOrStderr(), c.LogFormat)
	defer end()
	s := service{config: c, storeWait: flags.storeWait, out: cmd.OutOrStdout(), log: log}
	settings := lastcall.Config{Grace: c.Grace, GraceFlag: flags.grace, Logger: s.log}
	if c.TokenFile != "" {
		tokens, err := httpapi.LoadTokens(c.TokenFile, s.log)
		if err != nil {
			return err
		}
		s.tokens = tokens
		settings.OnReload = func(ctx context.Context) error {
			err := tokens.Reload(ctx)
			if err == nil {
				s.log.Info("SIGHUP: the tokens of the file are in force", "file", c.TokenFile)
			}
			return err
		}
	}
	closeOnExec(s.log)
	defer keepOrphans(&s.keeper, c, s.log)()
	if err := s.confine(); err != nil {
		return err
	}
	if code := lastcall.Main(settings, s.setUp); code != 0 {
		return exitError(code)
	}
	return nil
}

// service is what serve runs.
type service struct {
	config    config
	storeWait time.Duration // how long it waits at the start for a database that is not available
	out       io.Writer
	log       *slog.Logger
	tokens    *httpapi.Tokens // nil: everyone on this machine may do everything
	keeper    proc.Keeper

	isolation confine.Isolation
	cgroups   *confine.Cgroups // nil if no kind has limits
}

func (s *service) setUp(ctx context.Context, g *lastcall.Group) error {
	c := s.config
	listener, err := listen(ctx, g, "listener", c.Listen)
	if err != nil {
		return err
	}
	var probeListener net.Listener
	if c.ProbeListen != "" {
		if probeListener, err = listen(ctx, g, "probe listener", c.ProbeListen); err != nil {
			return err
		}
	}
	opened, err := openStore(lastcall.UntilLastCall(ctx), c.Store, openOptions{create: true, migrate: c.Migrate, wait: s.storeWait}, s.log)
	if errors.Is(err, lastcall.ErrStopping) {
		return nil // a stop came while the database was not available: there is nothing to stop
	}
	if err != nil {
		return err
	}
	g.Defer("store", lastcall.CloseFunc(opened.Close))
	s.warnOfReaders(opened)
	m := newMetrics()
	store := m.Store(opened)
	m.WatchStop(ctx)
	m.WatchTasks(store)
	var mux task.Mux
	if err := offerDemoKinds(g, &mux, c); err != nil {
		return err
	}
	programs := s.registerPrograms(&mux, opened)
	// This runs before the store is closed, which releases the worker's lock.
	g.Defer("programs", programs.Close)
	if err := s.sweep(g, programs); err != nil {
		return err
	}
	api, err := httpapi.New(httpapi.Config{
		Store: store, Addr: listener.Addr(), Queues: queues(c.programs), KnownKindsOnly: c.KnownKindsOnly, Tokens: s.tokens, Stopping: lastcall.LastCall,
		OnResponse: m.served, Logger: s.log,
	})
	if err != nil {
		return err
	}
	observe := func(ctx context.Context, e task.Event) {
		m.Observe(ctx, e)
		api.Observe(ctx, e)
	}
	worker, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Concurrency: c.Concurrency, Retention: c.Retention,
		Observe: observe, Logger: s.log})
	if err != nil {
		return err
	}
	m.WatchWorker(worker)
	if err := g.Go("worker", worker.Serve); err != nil {
		return err
	}
	if err := s.schedule(g, opened); err != nil {
		return err
	}
	if err := s.offer(g, m, listener, probeListener, api, newProbes(store, worker, g.Ready, s.log)); err != nil {
		return err
	}
	if err := announce(s.out, listener.Addr().String(), c); err != nil {
		s.log.Warn("cannot print where it serves", "address", listener.Addr().String(), "error", err)
	}
	return nil
}

// schedule starts the scheduler of the file's schedules, if the file has the key "schedules".
func (s *service) schedule(g *lastcall.Group, store task.Store) error {
	if !s.config.hasSchedules() {
		return nil
	}
	scheduler, err := s.config.newScheduler(store, s)
	if err != nil {
		return err
	}
	return g.Go("scheduler", scheduler.Serve)
}

// warnOfReaders warns if others can read what only this process should.
func (s *service) warnOfReaders(store task.Store) {
	if text := looseFile("store file", s.config.storeFile); text != "" {
		s.log.Warn(text)
	}
	if file, ok := store.(*sqlitestore.Store); ok {
		if err := file.CheckPermissions(); err != nil {
			s.log.Warn("others can read the store", "error", err)
		}
	}
}

// offer serves the tasks and the platform's probes at one address, and the probes also at an
// address of their own if one is configured.
func (s *service) offer(g *lastcall.Group, m *metrics, listener, probeListener net.Listener, api http.Handler, probes *http.ServeMux) error {
	numbers := m.handler(s.log)
	routes := http.NewServeMux()
	routes.Handle("/healthz", probes)
	routes.Handle("/readyz", probes)
	routes.Handle("GET /metrics", guarded(numbers, s.tokens))
	if err := g.HTTP("api", httpapi.NewServer(withProbes(api, routes), s.log), listener); err != nil {
		return err
	}
	if probeListener == nil {
		return nil
	}
	probes.Handle("GET /metrics", numbers)
	// The platform probes until the end: without an answer it would take a draining stop for a hang.
	if err := g.HTTP("probes", httpapi.NewServer(forPlatform(probes, probeListener.Addr()), s.log), probeListener, lastcall.ServeUntilClose()); err != nil {
		return err
	}
	s.log.Info("probes", "address", probeListener.Addr().String())
	return nil
}

// listen opens a port. The server closes it; if no server gets it, the group does.
func listen(ctx context.Context, g *lastcall.Group, name, address string) (net.Listener, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w: another program has the port, perhaps another lastcall: stop it, or choose port 0 for any free one, as --listen 127.0.0.1:0", err)
	}
	if err != nil {
		return nil, err
	}
	g.Defer(name, func(context.Context) error {
		if err := listener.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	return listener, nil
}
