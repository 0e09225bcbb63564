package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/demo"
	"github.com/lastcall-go/lastcall/internal/proc"
	"github.com/lastcall-go/lastcall/task"
)

func newServe() *cobra.Command {
	var (
		file      string
		storeFile string
		flags     config
		grace     time.Duration
	)
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run tasks, and offer them on HTTP",
		Long: `Run tasks of a store, and offer the store on HTTP, until SIGTERM or SIGINT.

Then no new task is begun. Running ones go on until the grace is nearly used up; what is not done by then is
recorded as interrupted with its checkpoint, and the next server on the same store takes it up. A second signal interrupts
at once, a third ends the program. After a SIGKILL the next server takes up the tasks too, from their last checkpoint.`,
		Example: `  lastcall serve --store sqlite:tasks.db --demo-kinds
  lastcall serve --config lastcall.yaml --grace 60s`,
		Args: args(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var c config
			if file != "" {
				var err error
				if c, err = readConfig(file); err != nil {
					return err
				}
			}
			set := cmd.Flags().Changed
			address, err := storeAddress(flags.Store, storeFile)
			if err != nil {
				return err
			}
			if address != "" {
				c.Store = address
			}
			if set("migrate") {
				c.Migrate = flags.Migrate
			}
			if set("listen") {
				c.Listen = flags.Listen
			}
			if set("concurrency") {
				c.Concurrency = flags.Concurrency
			}
			if set("demo-kinds") {
				c.DemoKinds = flags.DemoKinds
			}
			if set("grace") && grace <= 0 {
				return usageError{fmt.Errorf("--grace %v: use a positive duration, as 30s", grace)}
			}
			if err := c.complete(); err != nil {
				return err
			}
			return serve(c, grace)
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "config", "", "configuration file (YAML); flags beat it")
	f.StringVar(&flags.Store, "store", "", "where the tasks are: "+storeUsage)
	f.StringVar(&storeFile, "store-file", "", "file that has the address of the store")
	f.BoolVar(&flags.Migrate, "migrate", false, "make the tables in PostgreSQL, or bring them up to date")
	f.StringVar(&flags.Listen, "listen", defaultListen, "address of the HTTP interface, on this machine only")
	f.DurationVar(&grace, "grace", 0, "time from the stop signal to the platform's SIGKILL (default 30s, or LASTCALL_GRACE)")
	f.IntVar(&flags.Concurrency, "concurrency", 10, "how many tasks run at once")
	f.BoolVar(&flags.DemoKinds, "demo-kinds", false, "offer the kinds hash-tree and gzip-tree")
	cmd.MarkFlagsMutuallyExclusive("store", "store-file")
	return cmd
}

// serve runs until a stop, and returns the exit code of the group.
func serve(c config, grace time.Duration) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	var keeper proc.Keeper
	defer keepOrphans(&keeper, c, log)()
	code := lastcall.Main(lastcall.Config{Grace: c.Grace, GraceFlag: grace, Logger: log},
		func(ctx context.Context, g *lastcall.Group) error { return setUp(ctx, g, c, &keeper, log) })
	if code != 0 {
		return exitError(code)
	}
	return nil
}

func setUp(ctx context.Context, g *lastcall.Group, c config, keeper *proc.Keeper, log *slog.Logger) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", c.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: another program has the port, perhaps another lastcall: stop it, or choose --listen 127.0.0.1:0 for any free one", err)
	}
	if err != nil {
		return err
	}
	g.Defer("listener", func(context.Context) error { // the server's by then, unless the set-up failed
		if err := listener.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	store, err := openStore(ctx, c.Store, howToOpen{create: true, migrate: c.Migrate}, log)
	if err != nil {
		return err
	}
	g.Defer("store", lastcall.NoContext(store.Close))
	var mux task.Mux
	if c.DemoKinds {
		demo.Register(&mux)
	}
	registerPrograms(&mux, c.programs, store, keeper, log)
	api, server, err := newAPI(store, listener.Addr(), queues(c.programs), g.Ready, log)
	if err != nil {
		return err
	}
	worker, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Concurrency: c.Concurrency, Observe: api.Observe, Logger: log})
	if err != nil {
		return err
	}
	if err := g.Go("worker", worker.Serve); err != nil {
		return err
	}
	if err := g.HTTP("api", server, listener); err != nil {
		return err
	}
	return announce(listener.Addr().String(), c)
}

// announce prints the address, and a line to paste.
func announce(addr string, c config) error {
	fmt.Printf("lastcall serves %s on http://%s\n", shownStore(c.Store), addr)
	if !c.DemoKinds && len(c.programs) > 0 {
		return nil
	}
	if !c.DemoKinds {
		fmt.Println("no kinds are offered: a configuration file has kinds, and --demo-kinds two to try")
		return nil
	}
	server := ""
	if addr != defaultListen {
		server = "--server http://" + addr + " "
	}
	_, err := fmt.Printf("to submit a task:\n  %s submit %shash-tree '{\"dir\": \"%s\", \"out\": \"%s\"}'\n",
		program(), server, someTree(), filepath.Join(os.TempDir(), "lastcall-demo.sums"))
	return err
}

// someTree is a directory with many files, if this machine has one of the usual ones.
func someTree() string {
	trees := []string{filepath.Join(os.Getenv("GOROOT"), "src"), "/usr/local/go/src", "/usr/lib/go/src", "/usr/share/doc"}
	for _, dir := range trees {
		if info, err := os.Stat(dir); err == nil && info.IsDir() && filepath.IsAbs(dir) {
			return dir
		}
	}
	return os.TempDir()
}

// program is how this program can be called from a shell.
func program() string {
	self, err := os.Executable()
	if err != nil {
		return "lastcall"
	}
	if found, err := exec.LookPath("lastcall"); err == nil && found == self {
		return "lastcall"
	}
	return self
}
