//go:build linux

package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/test/chaos/proxy"
)

// Entrance is where the processes of a run connect. A proxy.Proxy is one.
type Entrance interface {
	// Lead directs new connections to the path of a socket, or nowhere if the path is empty.
	Lead(address string)
	// Cut ends the connections of the victims, or all if none is named.
	Cut(victims ...string) int
}

// Options configure a Cluster.
type Options struct {
	// Dir is the directory of the run. Its path must be short, since sockets are in it. The user
	// nobody must be able to enter the directories above it.
	Dir string
	// Entrance always leads to the current server.
	Entrance Entrance
	// Schema has the tables that are locked and that get triggers.
	Schema string
	// Faults are the kinds that will be made: some need a special server.
	Faults []string
	// Room is how many MiB the tasks of the run need. It determines the size of small disks.
	Room int
	// Settings are settings of the servers, in the form name=value.
	Settings []string
	// Pooler is the mode of a PgBouncer that is always in front of the server. Empty means none.
	Pooler string
}

// Role and Database are what the processes of a run use. The role owns the database, and is not a
// superuser.
const (
	Role     = "service"
	Database = "chaos"
)

// Cluster is the PostgreSQL of a run.
type Cluster struct {
	stage
	opts        Options
	dir         string
	replication *proxy.Proxy // between a primary and its standby
	clock       string       // the file with the servers' clock; "" if they use the machine's clock
	env         []string

	pooler  func() error // ends the pooler; nil if there is none
	pooled  string       // its address
	servers int          // how many servers there have been
	locked  atomic.Int32 // how many tables have been locked

	at      sync.Mutex
	primary *pgtest.Server
}

// New starts a server, creates the role and the database, and leads the entrance to it.
func New(ctx context.Context, opts Options) (_ *Cluster, err error) {
	c := &Cluster{opts: opts, dir: filepath.Join(opts.Dir, "pg")}
	if err := os.Mkdir(c.dir, 0o755); err != nil { // the server's user must be able to enter it
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	// The server's user must be able to enter it, too.
	if err := os.Chmod(opts.Dir, 0o755); err != nil {
		return nil, err
	}
	c.replication = proxy.New(c.dir)
	if c.happens(ClockForward, ClockBack) {
		if err := c.ownClock(); err != nil {
			return nil, err
		}
	}
	if c.primary, err = c.begin(ctx); err != nil {
		return nil, err
	}
	return c, c.lead(ctx, c.primary)
}

// begin starts a server, with the role and the database.
func (c *Cluster) begin(ctx context.Context) (*pgtest.Server, error) {
	setup, err := c.setup()
	if err != nil {
		return nil, err
	}
	s, err := pgtest.StartWith(setup)
	if err != nil {
		return nil, err
	}
	if err := furnish(ctx, s); err != nil {
		return nil, errors.Join(err, c.remove(s))
	}
	return s, nil
}

// happens reports whether any of the kinds is among the run's faults.
func (c *Cluster) happens(kinds ...string) bool {
	return slices.ContainsFunc(kinds, func(k string) bool { return slices.Contains(c.opts.Faults, k) })
}

// setup returns the setup of the next server. It has a directory of its own, and disks of its own
// if they may be filled.
func (c *Cluster) setup() (pgtest.Setup, error) {
	c.servers++
	dir := filepath.Join(c.dir, fmt.Sprintf("s%d", c.servers))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return pgtest.Setup{}, err
	}
	settings := []string{"max_connections=100", "superuser_reserved_connections=20", "shared_buffers=32MB", "fsync=off", "max_wal_size=64MB", "wal_receiver_status_interval=1s"}
	setup := pgtest.Setup{Parent: dir, Env: c.env, Settings: append(settings, c.opts.Settings...)}
	if !c.happens(DiskFullData, DiskFullWAL) {
		return setup, nil
	}
	return setup, c.smallDisks(&setup)
}

// remove ends a server immediately, and removes its files.
func (c *Cluster) remove(s *pgtest.Server) error {
	return errors.Join(stop(s, syscall.SIGQUIT), s.Close(), Remove(filepath.Dir(s.Host())))
}

// furnish creates the role and the database of the processes.
func furnish(ctx context.Context, s *pgtest.Server) error {
	admin, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return err
	}
	return errors.Join(run(ctx, admin, "create role "+Role+" login", "create database "+Database+" owner "+Role), admin.Close(ctx))
}

// server returns the server that accepts writes.
func (c *Cluster) server() *pgtest.Server {
	c.at.Lock()
	defer c.at.Unlock()
	return c.primary
}

// move makes another server the one that accepts writes, leads the entrance to it, and removes the
// former one.
func (c *Cluster) move(ctx context.Context, to *pgtest.Server) error {
	c.at.Lock()
	from := c.primary
	c.primary = to
	c.at.Unlock()
	return errors.Join(c.lead(ctx, to), c.remove(from))
}

// lead leads the entrance to a server, through a pooler if the run has one, and ends the
// connections to other servers.
func (c *Cluster) lead(ctx context.Context, to *pgtest.Server) error {
	socket, former := to.Socket(), c.pooler
	c.pooler = nil
	if c.opts.Pooler != "" {
		var err error
		if socket, c.pooler, err = c.startPooler(ctx, to, c.opts.Pooler); err != nil {
			return err
		}
		c.pooled = poolerAddress(filepath.Dir(socket))
	}
	c.opts.Entrance.Lead(socket)
	c.opts.Entrance.Cut()
	if former != nil {
		return former()
	}
	return nil
}

// Unpool ends the pooler of the run, which holds connections, when no process uses it any more.
func (c *Cluster) Unpool() error {
	if c.pooler == nil {
		return nil
	}
	c.opts.Entrance.Lead("")
	former := c.pooler
	c.pooler = nil
	return former()
}

// Address returns the address of the server itself, without the entrance, for those that must
// always reach the database. It changes after some faults.
func (c *Cluster) Address() string { return pgtest.Keywords(c.server().DSN(Database), "user", Role) }

// patience is how long a fault waits for a server that is in use by other faults.
const patience = 30 * time.Second

// again is the pause between two attempts.
const again = 50 * time.Millisecond

// connect connects as a superuser, as soon as that is possible.
func (c *Cluster) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		cfg, err := pgx.ParseConfig(c.server().DSN(Database))
		if err != nil {
			return nil, err
		}
		cfg.RuntimeParams["default_transaction_read_only"], cfg.RuntimeParams["lock_timeout"] = "off", "10s"
		admin, err := pgx.ConnectConfig(ctx, cfg)
		if err == nil {
			return admin, nil
		}
		if !pause(ctx, again) {
			return nil, fmt.Errorf("the server takes no connection: %w", err)
		}
	}
}

// pause waits for d, and reports false if the context has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// do runs statements as a superuser.
func (c *Cluster) do(ctx context.Context, statements ...string) error {
	return c.with(ctx, func(admin *pgx.Conn) error { return run(ctx, admin, statements...) })
}

// with connects as a superuser for the duration of a function.
func (c *Cluster) with(ctx context.Context, do func(*pgx.Conn) error) error {
	admin, err := c.connect(ctx)
	if err != nil {
		return err
	}
	return errors.Join(do(admin), admin.Close(ctx))
}

// number queries a number.
func (c *Cluster) number(ctx context.Context, sql string) (n int64, err error) {
	err = c.with(ctx, func(admin *pgx.Conn) error { return admin.QueryRow(ctx, sql).Scan(&n) })
	return n, err
}

func run(ctx context.Context, admin *pgx.Conn, statements ...string) error {
	for _, sql := range statements {
		if _, err := admin.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// set changes settings of the running server persistently. An empty value resets a setting.
func (c *Cluster) set(ctx context.Context, settings map[string]string) error {
	var statements []string
	for name, value := range settings {
		if value == "" {
			statements = append(statements, "alter system reset "+name)
		} else {
			statements = append(statements, "alter system set "+name+" = '"+value+"'")
		}
	}
	return c.do(ctx, append(statements, "select pg_reload_conf()")...)
}

// insist runs a statement as a superuser until it succeeds: a lock that is not available, or a
// server that is down, must not leave something behind.
func (c *Cluster) insist(ctx context.Context, sql string) error {
	for {
		err := c.do(ctx, sql)
		if err == nil || !pause(ctx, again) {
			return err
		}
	}
}

// until waits until a query returns true.
func (c *Cluster) until(ctx context.Context, question string) error {
	return c.with(ctx, func(admin *pgx.Conn) error { return until(ctx, admin, question) })
}

func until(ctx context.Context, admin *pgx.Conn, question string) error {
	for {
		var yes bool
		if err := admin.QueryRow(ctx, question).Scan(&yes); err != nil {
			return fmt.Errorf("%s: %w", question, err)
		}
		if yes {
			return nil
		}
		if !pause(ctx, again) {
			return fmt.Errorf("never true: %s", question)
		}
	}
}

// stop stops a server, unless it has already ended.
func stop(s *pgtest.Server, sig syscall.Signal) error {
	select {
	case <-s.Done():
		return nil
	default:
		return s.Stop(sig)
	}
}

// Begin begins a fault. The End that it returns ends it.
func (c *Cluster) Begin(ctx context.Context, kind string) (End, error) {
	return perform(ctx, &c.stage, clusterActs(), kind, c)
}

// Close ends all faults, stops the servers and removes their files.
func (c *Cluster) Close() error {
	err := c.stage.close()
	if c.pooler != nil {
		err = errors.Join(err, c.pooler())
	}
	if c.primary != nil {
		err = errors.Join(err, c.remove(c.primary))
	}
	if c.replication != nil {
		err = errors.Join(err, c.replication.Close())
	}
	return errors.Join(err, Remove(c.dir))
}
